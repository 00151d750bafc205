curl $url/key -H "Authorization: Bearer $key"
curl $url/credits -H "Authorization: Bearer $key"

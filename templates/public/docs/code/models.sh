curl $url/models -H "Authorization: Bearer $key"

-- Forgets a stream that never began. Behind the prefix ARGV has its id and account.

redis.call('DEL', key_of(ARGV[2]))
forget(ARGV[3] .. ':' .. ARGV[2])

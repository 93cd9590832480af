return enqueue(ARGV)

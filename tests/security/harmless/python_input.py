# Input files in folders, and standard input.
# file: data/numbers.txt "1\n2\n3\n"
# file: helper.txt "sum"
# stdin-bytes: 5
# expect-status: ok
# expect-stdout: sum 6 5
import sys

numbers = sum(int(line) for line in open("data/numbers.txt"))
print(open("helper.txt").read(), numbers, len(sys.stdin.buffer.read()))

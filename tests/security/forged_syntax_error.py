# Fails while it runs with what looks like a mistake in the source.
# attacks: a supervisor that finds compile errors by reading the output
# expect-status: error
# expect-return-code: 1
sys.stderr.write('  File "<string>", line 1\n    def\n       ^\nSyntaxError: invalid syntax\n')
raise SyntaxError("invalid syntax")

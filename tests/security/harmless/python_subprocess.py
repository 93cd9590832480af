# Children with pipes, input, environment, time limit and exit code.
# expect-status: ok
# expect-stdout: HELLO 3 timeout given
import os
import subprocess
import sys

shout = subprocess.run(["tr", "a-z", "A-Z"], input="hello", capture_output=True, text=True, check=True).stdout
code = subprocess.run([sys.executable, "-c", "raise SystemExit(3)"]).returncode
try:
    subprocess.run(["sleep", "5"], timeout=0.2)
    late = "no timeout"
except subprocess.TimeoutExpired:
    late = "timeout"
env = subprocess.run("echo $GIVEN", shell=True, env={**os.environ, "GIVEN": "given"}, capture_output=True, text=True)
print(shout, code, late, env.stdout.strip())

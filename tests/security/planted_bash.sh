# Files placed beside the program that Bash would read before it by itself.
# attacks: .bashrc, .profile, BASH_ENV, .inputrc among the input files
# file: .bashrc "echo BREACH bashrc ran\n"
# file: .bash_profile "echo BREACH bash_profile ran\n"
# file: .profile "echo BREACH profile ran\n"
# file: .bash_login "echo BREACH bash_login ran\n"
# file: .bash_logout "echo BREACH bash_logout ran\n"
# file: bash_env "echo BREACH bash_env ran\n"
# expect-status: ok
# expect-stdout: HELD
if [ -n "${BASH_ENV:-}${ENV:-}" ]; then breach "BASH_ENV is $BASH_ENV"; fi
verdict

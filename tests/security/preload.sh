# Preloads a library of its own into programs with more rights, and lists loader files it may write.
# attacks: LD_PRELOAD, LD_AUDIT, LD_LIBRARY_PATH, /etc/ld.so.preload
# expect-status: ok
# expect-stdout: HELD
if [ -e /etc/ld.so.preload ]; then breach "ld.so.preload exists"; fi
for file in /etc/ld.so.preload /etc/ld.so.conf /etc/ld.so.cache /etc/profile /etc/bash.bashrc /etc/environment; do
  if (: >> "$file") 2> /dev/null; then breach "can write $file"; fi
done
if [ -n "${LD_PRELOAD:-}${LD_LIBRARY_PATH:-}${LD_AUDIT:-}" ]; then breach "loader variables are set"; fi
printf 'x' > evil.so
for program in /usr/bin/su /usr/bin/passwd /usr/bin/newgrp; do
  [ -u "$program" ] || continue
  # no_new_privs makes the program ordinary: the loader then honours the variable, and nothing is gained.
  LD_PRELOAD=$PWD/evil.so timeout 2 "$program" --help > /dev/null 2>&1
done
id=$(id -u)
if [ "$id" -eq 0 ]; then breach "is root"; fi
verdict

# Opens the kernel's files for reading and writing by the shell's own redirections.
# attacks: /proc and /sys from a shell
# expect-status: ok
# expect-stdout: HELD
# control: breach
for file in /proc/sysrq-trigger /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe; do
  if (exec 3>> "$file") 2> /dev/null && [ ! "$file" -ef /dev/null ]; then breach "opened $file to write"; fi
done
for file in /proc/1/mem /proc/1/environ /proc/kcore /proc/1/root/etc/shadow \
  /sys/kernel/uevent_helper /sys/fs/cgroup/cgroup.procs /dev/mem /dev/kmsg /dev/tty /dev/vda "/proc/$CANARY_PID/environ" \
  "/proc/$CANARY_PID/fd/1" "/proc/$CANARY_PID/cmdline" "/proc/$PPID/environ"; do
  # A masked file is /dev/null: it opens and says nothing.
  if (exec 3<> "$file") 2> /dev/null && [ ! "$file" -ef /dev/null ]; then breach "opened $file for both"; fi
  if (exec 3< "$file" && head -c 1 <&3 | grep -q .) 2> /dev/null; then breach "read $file"; fi
done
for descriptor in /proc/self/fd/*; do
  case "${descriptor##*/}" in 0 | 1 | 2 | 3 | 255) ;; *) [ -e "$descriptor" ] && breach "has $descriptor" ;; esac
done
verdict

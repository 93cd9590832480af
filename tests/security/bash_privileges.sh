# Asks the usual programs for more rights.
# attacks: sudo, su, mount, nsenter, unshare, chroot, capsh
# expect-status: ok
# expect-stdout: HELD
# control: breach
if [ "$(readlink /proc/self/ns/pid)" = "$PID_NS" ]; then breach "shares the process namespace of the host"; exit 0; fi
try() {
  if timeout 3 "$@" < /dev/null > /dev/null 2>&1; then breach "$*"; else echo "refused $1"; fi
}
mkdir -p m
try sudo -n id
try su -c id
try mount -t tmpfs none m
try mount --bind / m
try mount -o remount,rw /
try umount /tmp
try unshare --user --map-root-user id
try unshare --mount id
try nsenter --target 1 --mount id
try chroot / id
try nice -n -20 true_is_not_a_program
try hostname owned
try date --set=2001-01-01
try dmesg
try insmod /dev/null
try ip link set lo down
try swapoff -a
try chown root:root m
try mknod m/null c 1 3
verdict

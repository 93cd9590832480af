# Put in front of every Bash attack by the harness. `canary.env` names what the attack looks for on the host.
. ./canary.env
breaches=0
breach() { breaches=$((breaches + 1)); echo "BREACH $*"; }
verdict() { if [ "$breaches" -eq 0 ]; then echo HELD; fi; }
# sleep under the name by which the harness finds survivors on the host
survivor() { exec -a "$SURVIVOR" sleep "$1"; }


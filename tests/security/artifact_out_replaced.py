# Replaces the folder of artifacts itself by a link out of the cell.
# attacks: a collector that trusts the folder it made
# expect-status: ok
# expect-stdout: HELD
# expect-artifacts: []
os.rmdir("out")
os.symlink(os.path.dirname(HOST["CANARY_FILE"]), "out")
verdict()

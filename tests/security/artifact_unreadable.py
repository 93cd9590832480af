# Leaves files and folders that nobody may read, and one that everybody may run as its owner.
# attacks: the collector's privileges and patience
# expect-status: ok
# expect-stdout: HELD
# seconds-max: 10
open("out/closed", "w").write("closed")
os.chmod("out/closed", 0)
os.mkdir("out/folder")
open("out/folder/inner", "w").write("inner")
os.chmod("out/folder", 0)
open("out/setuid", "w").write("setuid")
os.chmod("out/setuid", 0o6777)
verdict()

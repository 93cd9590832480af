# Makes siblings, children of PID 1, that end with code 0 before it ends with 7 itself.
# attacks: an init that takes the first end for the end of the program
# expect-status: error
# expect-return-code: 7
only_in_a_cell()
for code in (0, 0, 1):
    made = syscall(56, 0x8000 | 17, 0, 0, 0, 0)
    if made == 0:
        os._exit(code)
    print("sibling", made if made > 0 else name(made))
    orphan = os.fork()
    if orphan == 0:
        if os.fork() == 0:
            os._exit(code)
        os._exit(0)
    os.waitpid(orphan, 0)
time.sleep(0.3)
os._exit(7)

//! Assembles a classic BPF program from a table *system call → verdict*.
//!
//! The table becomes a balanced search tree over ranges of numbers: about eight comparisons for any
//! call, and a short program, because the kernel walks the filter once per call number when it is
//! installed (its bitmap of constant answers, seccomp(2)).

use std::collections::BTreeMap;

/// One instruction as the kernel takes it.
pub(crate) type Instruction = libc::sock_filter;

/// Offsets in `struct seccomp_data` (linux/seccomp.h).
const NR: u32 = 0;
const ARCH: u32 = 4;
const ARGS: u32 = 16;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const JUMP_EQ: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const JUMP_GE: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const JUMP_SET: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// What happens to a system call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes to the kernel.
    Allow,
    /// It fails with this error number.
    Errno(i32),
    /// It depends on its arguments: the first test that matches decides, else the last field.
    Arguments(Vec<Test>, i32),
}

/// One test of arguments. Only the low 32 bits are compared: the kernel ignores the high half of
/// these arguments too, and a filter that looks at it can be walked around (CVE-2019-10063).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Test {
    /// All of them must hold.
    pub(crate) conditions: Vec<Condition>,
    /// `None`: allow. `Some`: fail with this number.
    pub(crate) errno: Option<i32>,
}

/// A condition on one argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    /// `argument & mask` is one of these.
    Among { argument: u32, mask: u32, values: Vec<u32> },
    /// No bit of the mask is set in the argument.
    NoneOf { argument: u32, mask: u32 },
}

/// The whole program for one architecture; calls not in the table fail with ENOSYS.
pub(crate) fn assemble(table: &BTreeMap<u32, Verdict>, arch: u32, x32: bool) -> Vec<Instruction> {
    let mut program =
        vec![load(ARCH), jump(JUMP_EQ, arch, 1, 0), ret(libc::SECCOMP_RET_KILL_PROCESS), load(NR)];
    if x32 {
        // The x32 ABI shares the architecture word and sets bit 30 (__X32_SYSCALL_BIT).
        program.push(jump(JUMP_GE, 0x4000_0000, 0, 1));
        program.push(ret(libc::SECCOMP_RET_KILL_PROCESS));
    }
    program.extend(search(&ranges(table)));
    program
}

/// The table as adjoining ranges `(first, verdict)`, starting at 0.
fn ranges(table: &BTreeMap<u32, Verdict>) -> Vec<(u32, Verdict)> {
    let missing = || Verdict::Errno(libc::ENOSYS);
    let mut out = vec![(0, missing())];
    let mut push = |first: u32, verdict: Verdict| {
        if out.last().is_some_and(|(start, _)| *start == first) {
            out.pop();
        }
        if out.last().is_none_or(|(_, last)| *last != verdict) {
            out.push((first, verdict));
        }
    };
    for (&nr, verdict) in table {
        push(nr, verdict.clone());
        push(nr + 1, missing());
    }
    out
}

fn search(ranges: &[(u32, Verdict)]) -> Vec<Instruction> {
    if let [(_, verdict)] = ranges {
        return leaf(verdict);
    }
    let (left, right) = ranges.split_at(ranges.len() / 2);
    let (border, left, right) = (right[0].0, search(left), search(right));
    let mut out = Vec::new();
    match u8::try_from(left.len()) {
        Ok(skip) => out.push(jump(JUMP_GE, border, skip, 0)),
        Err(_) => {
            // Conditional jumps reach 255 instructions, the unconditional one any distance.
            let skip = u32::try_from(left.len()).unwrap_or(u32::MAX);
            out.push(jump(JUMP_GE, border, 0, 1));
            out.push(Instruction { code: libc::BPF_JMP as u16, jt: 0, jf: 0, k: skip });
        }
    }
    out.extend(left);
    out.extend(right);
    out
}

fn leaf(verdict: &Verdict) -> Vec<Instruction> {
    match verdict {
        Verdict::Allow => vec![ret(libc::SECCOMP_RET_ALLOW)],
        Verdict::Errno(errno) => vec![fail(*errno)],
        Verdict::Arguments(tests, otherwise) => {
            let mut out = Vec::new();
            for test in tests {
                out.extend(test_code(test));
            }
            out.push(fail(*otherwise));
            out
        }
    }
}

/// Conditions one after the other; a failing one jumps behind the test's own return.
fn test_code(test: &Test) -> Vec<Instruction> {
    let mut tail = vec![test.errno.map_or(ret(libc::SECCOMP_RET_ALLOW), fail)];
    for condition in test.conditions.iter().rev() {
        let behind = u8::try_from(tail.len()).expect("a test has a handful of conditions");
        let mut code = Vec::new();
        match condition {
            Condition::Among { argument, mask, values } => {
                code.push(load(ARGS + 8 * argument));
                if *mask != u32::MAX {
                    code.push(Instruction { code: AND, jt: 0, jf: 0, k: *mask });
                }
                let count = values.len();
                for (at, value) in values.iter().enumerate() {
                    let ahead = u8::try_from(count - 1 - at).expect("a handful of values");
                    let missed = if at + 1 == count { behind } else { 0 };
                    code.push(jump(JUMP_EQ, *value, ahead, missed));
                }
            }
            Condition::NoneOf { argument, mask } => {
                code.push(load(ARGS + 8 * argument));
                code.push(jump(JUMP_SET, *mask, behind, 0));
            }
        }
        code.extend(tail);
        tail = code;
    }
    tail
}

fn load(offset: u32) -> Instruction {
    Instruction { code: LOAD, jt: 0, jf: 0, k: offset }
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

fn ret(action: u32) -> Instruction {
    Instruction { code: RETURN, jt: 0, jf: 0, k: action }
}

fn fail(errno: i32) -> Instruction {
    ret(libc::SECCOMP_RET_ERRNO | (errno.cast_unsigned() & 0xffff))
}

#[cfg(test)]
pub(crate) mod machine {
    //! A classic BPF machine, so that tests ask the program itself.

    use super::*;

    /// Runs the program on one call and answers its action.
    pub(crate) fn run(program: &[Instruction], arch: u32, nr: u32, args: [u64; 6]) -> u32 {
        let word = |offset: u32| match offset {
            NR => nr,
            ARCH => arch,
            _ => {
                let at = offset - ARGS;
                let value = args[(at / 8) as usize];
                u32::try_from(if at.is_multiple_of(8) { value & 0xffff_ffff } else { value >> 32 })
                    .unwrap()
            }
        };
        let (mut accumulator, mut at) = (0u32, 0usize);
        loop {
            let Instruction { code, jt, jf, k } = program[at];
            at += 1;
            let branch = |taken: bool| usize::from(if taken { jt } else { jf });
            match code {
                LOAD => accumulator = word(k),
                AND => accumulator &= k,
                JUMP_EQ => at += branch(accumulator == k),
                JUMP_GE => at += branch(accumulator >= k),
                JUMP_SET => at += branch(accumulator & k != 0),
                RETURN => return k,
                code if code == libc::BPF_JMP as u16 => at += k as usize,
                other => panic!("instruction {other:#x} is not used"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ARCH_X: u32 = 0xC000_003E;

    fn verdict() -> impl Strategy<Value = Verdict> {
        prop_oneof![Just(Verdict::Allow), (1i32..100).prop_map(Verdict::Errno)]
    }

    proptest! {
        #[test]
        fn the_tree_answers_what_the_table_says(
            table in proptest::collection::btree_map(0u32..600, verdict(), 0..500), nr in 0u32..700,
        ) {
            let program = assemble(&table, ARCH_X, true);
            let want = match table.get(&nr) {
                Some(Verdict::Allow) => libc::SECCOMP_RET_ALLOW,
                Some(Verdict::Errno(errno)) => libc::SECCOMP_RET_ERRNO | errno.cast_unsigned(),
                _ => libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned(),
            };
            prop_assert_eq!(machine::run(&program, ARCH_X, nr, [0; 6]), want);
        }
    }

    #[test]
    fn an_empty_table_refuses_everything() {
        let program = assemble(&BTreeMap::new(), ARCH_X, true);
        let enosys = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();
        assert_eq!(machine::run(&program, ARCH_X, 0, [0; 6]), enosys);
    }
}

//! Python whose interpreter was forked from a zygote: the same to a program as one that was started.

use std::time::{Duration, Instant};

use ultimate_mcp_sandbox::options::ZygoteOptions;
use ultimate_mcp_sandbox::spec::{InputFile, Language, Status};
use ultimate_mcp_sandbox::{LauncherOptions, Link};

use crate::harness::{bash, limits, link, options, python, run, spec, text};
use crate::lifecycle::steady_fds_of;

fn zygote() -> ZygoteOptions {
    let zygote = ZygoteOptions::default();
    assert!(zygote.library.is_file(), "built with this crate: {:?}", zygote.library);
    zygote
}

async fn zygote_link(zygote: ZygoteOptions) -> Link {
    Link::spawn(LauncherOptions { zygote: Some(zygote), ..options() }).await.unwrap()
}

/// Whether the program ran in an interpreter born of a zygote: only its command line tells.
const BORN: &str = "print(b'def zygote' in open('/proc/self/cmdline', 'rb').read())";

/// Waits until runs are served by a zygote.
async fn up(link: &Link) {
    let until = Instant::now() + Duration::from_secs(10);
    while text(&python(link, BORN).await.stdout) != "True\n" {
        assert!(Instant::now() < until, "no zygote within ten seconds");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_program_is_served_by_a_zygote() {
    let link = zygote_link(zygote()).await;
    up(&link).await;
    let report = python(&link, "print(6*7)").await;
    assert_eq!((report.status, text(&report.stdout).as_str()), (Status::Ok, "42\n"));
    // The end of a program is the interpreter's own in effect, though not in its way there.
    let deleted = "class A:\n    def __del__(self): print('deleted')\na = A()";
    assert_eq!(text(&python(&link, deleted).await.stdout), "deleted\n");
}

/// What a run of Python shows of the place it runs in. Each must look the same with and without a zygote.
const PROGRAMS: &[&str] = &[
    "import sys; print(sys.argv, sys.flags, sys.path, sys.executable, sys.prefix, sys.stdin, sys.stdout, sys.stderr)",
    "import sys; print([s.encoding + s.errors + str(s.newlines) + s.mode + s.name + str((s.line_buffering, s.write_through, s.seekable(), s.isatty(), s.fileno(), s.buffer.raw.closefd)) for s in (sys.stdin, sys.stdout, sys.stderr)])",
    "print(sorted(globals()), __name__, __file__, __builtins__, __doc__, __spec__, __package__, type(__loader__))",
    "import sys; print(len(sys._getframe().f_back.f_code.co_name), sys._getframe().f_back.f_code.co_name)",
    "import os; print(os.getpid(), os.getppid(), os.getuid(), os.getgid(), os.getgroups(), os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid(), os.getcwd(), sorted(os.environ.items()))",
    "import os; print(sorted(os.listdir('/proc/self/fd'))[:-1], [os.fstat(n).st_mode for n in (0, 1, 2)], os.umask(0), os.nice(0), os.sched_getscheduler(0))",
    "print([l for l in open('/proc/self/status') if l.split(':')[0] in ('Name', 'Umask', 'Uid', 'Gid', 'Groups', 'NSpid', 'CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb', 'NoNewPrivs', 'Seccomp', 'Seccomp_filters', 'Threads', 'SigBlk', 'SigIgn', 'SigCgt', 'TracerPid', 'SigQ')])",
    "print(open('/proc/self/limits').read(), open('/proc/self/oom_score_adj').read())",
    "import re; print(sorted(re.sub('[ug]id=[0-9]+', 'id', l.split(' - ')[0].split(' ', 3)[3] + l.split(' - ')[1]) for l in open('/proc/self/mountinfo')))",
    "import os; print([(n, os.stat(n).st_uid, os.stat(n).st_mode) for n in ('/box', '/tmp', '/dev/shm', '/box/out', '/box/main.py', '/proc/self/maps')], os.statvfs('/tmp').f_blocks, os.statvfs('/tmp').f_files)",
    "import os, sys; print(os.path.samefile('/proc/self/exe', sys.executable), os.readlink('/proc/self/cwd'), os.readlink('/proc/self/root'), os.listdir('/'), os.listdir('/box'))",
    "import socket, os; print(socket.gethostname(), sorted(socket.if_nameindex()), len(os.listdir('/proc/1')) if os.path.exists('/proc/1') else None)",
    "import signal; print([(s, signal.getsignal(s)) for s in (signal.SIGINT, signal.SIGPIPE, signal.SIGTERM, signal.SIGXFSZ, signal.SIGCHLD)], signal.pthread_sigmask(signal.SIG_BLOCK, []))",
    "import sys; sys.exit(3)",
    "import sys; sys.exit('a message')",
    "exit()",
    "raise SystemExit",
    "def f():\n    1 / 0\nf()",
    "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise ValueError('two') from e",
    "this does not compile",
    "raise KeyboardInterrupt",
    "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "import os, signal; os.kill(os.getpid(), signal.SIGINT); print('not reached')",
    "import os; os._exit(7)",
    "import os; os.abort()",
    "print(input('? '), input()); import sys; print(sys.stdin.read().encode())",
    "import sys; print(sys.stdin.buffer.readline(), sys.stdin.seekable(), sys.stdin.tell())",
    "import sys; sys.stdout.write('no newline'); sys.stderr.write('nor here')",
    "import sys; print('x' * 100000); sys.stdout.flush(); sys.stdout.buffer.write(b'raw')",
    "f = open('left_open.txt', 'w'); f.write('flushed at exit'); open('out/a.txt', 'w').write('an artifact')",
    "import atexit; atexit.register(print, 'at exit')",
    "import threading, time\ndef f():\n    time.sleep(0.05); print('thread')\nthreading.Thread(target=f).start(); print(threading.main_thread(). name, threading.active_count())",
    "import threading; print(threading.get_native_id() == __import__('os').getpid(), threading.main_thread().ident == threading.get_ident())",
    "import subprocess, sys; print(subprocess.run([sys.executable, '-c', 'print(6 * 7)'], capture_output=True, text=True))",
    "import subprocess; print(subprocess.run('echo $HOME; read x; echo $x; exit 4', shell=True, input=b'in', capture_output=True))",
    "import multiprocessing as m\ndef f(x): return x * x\nif __name__ == '__main__':\n    with m.Pool(2) as p: print(p.map(f, range(5)))",
    "import multiprocessing as m\ndef f(q): q.put('spawned')\nif __name__ == '__main__':\n    c = m.get_context('spawn'); q = c.Queue(); p = c.Process(target=f, args=(q,)); p.start(); print(q.get()); p.join()",
    "import os\nif os.fork() == 0:\n    print('child'); os._exit(0)\nprint(os.wait()[1])",
    "import sys; sys.setrecursionlimit(10**5)\ndef f(n): return f(n - 1) if n else 0\nprint(f(20000))",
    "import helper; f = open('out/x', 'w'); f.write('y'); helper.g = open('out/z', 'w'); helper.g.write('w')",
    "import json; json.kept = open('out/k', 'w'); json.kept.write('kept by a module'); print('k')",
    "f = open('out/c', 'w'); c = [f]; c.append(c); f.write('in a cycle'); del f, c",
    "import sys; sys.stdout = open('out/s', 'w'); print('elsewhere')",
    "import sys; sys.exit(256 + 7)",
    "import sys; sys.exit(-1)",
    "import sys; sys.exit(True)",
    "import sys; sys.excepthook = lambda *a: print('hooked', a[0]); 1 / 0",
    "import sys; sys.stdout.close()",
    "import os; os.close(1); print('lost')",
    "import helper; print(helper.VALUE, helper.__file__)",
    "import asyncio\nasync def f():\n    await asyncio.sleep(0.01); return 5\nprint(asyncio.run(f()))",
    "import ctypes, sqlite3, ssl, decimal, zlib; print(ctypes.CDLL(None).getpid(), sqlite3.connect(':memory:').execute('select 1').fetchone())",
    "import gc; print(gc.isenabled(), gc.get_threshold()); import warnings; print(warnings.filters)",
    "import sys; print(sys.getrecursionlimit(), sys.getswitchinterval(), sys.gettrace(), sys.dont_write_bytecode, sys.meta_path, sys.path_hooks)",
    "import locale, sys; print(locale.setlocale(locale.LC_ALL), sys.getfilesystemencoding(), sys.flags.utf8_mode)",
    "import resource; print(resource.getrlimit(resource.RLIMIT_NPROC), resource.getrlimit(resource.RLIMIT_FSIZE))",
    "import ctypes; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), ctypes.CDLL(None).prctl(2, ctypes.byref(ctypes.c_int()), 0, 0, 0))",
    "import os; os.system('cat /proc/self/status | grep -E \"Seccomp|NoNew|Cap|Sig[IBC]\"; ls -l /proc/self/fd | wc -l')",
    "open('/box/big', 'wb').write(bytes(40 << 20))",
    "import time; time.sleep(100)",
    "x = 'a' * (600 << 20)",
];

#[tokio::test]
async fn a_program_sees_and_shows_the_same_as_in_an_interpreter_that_was_started() {
    let (born, started) = (zygote_link(zygote()).await, link().await);
    up(&born).await;
    let mut differences = Vec::new();
    for code in PROGRAMS {
        let helper = InputFile { path: "helper.py".into(), content: b"VALUE = 5\n".to_vec() };
        let input = b"one\r\ntwo\nthree\r\n".to_vec();
        let make = || {
            let mut limits = limits();
            limits.wall = Duration::from_secs(2);
            Language::Python.run_spec("t".into(), code, vec![helper.clone()], input.clone(), limits)
        };
        let (one, other) =
            (run(&born, make().unwrap()).await, run(&started, make().unwrap()).await);
        let shown = |report: &ultimate_mcp_sandbox::spec::RunReport| {
            let names: Vec<_> = report.artifacts.iter().map(|a| (&a.name, &a.sha256)).collect();
            let (out, err) = (text(&report.stdout), text(&report.stderr));
            format!(
                "{:?} {:?} {:?} {names:?} {:?}\n{out}{err}",
                report.status, report.return_code, report.signal, report.message
            )
        };
        let (one, other) = (addressless(&shown(&one)), addressless(&shown(&other)));
        if one != other {
            differences.push(format!("--- {code}\nborn: {one}\nstarted: {other}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Addresses of objects are of no account.
fn addressless(shown: &str) -> String {
    let mut parts = shown.split("0x");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        text + "0x" + part.trim_start_matches(|c: char| c.is_ascii_hexdigit())
    })
}

#[tokio::test]
async fn nothing_random_is_the_same_in_two_interpreters_of_one_zygote() {
    let mut zygote = zygote();
    zygote.preload.extend(["secrets", "ssl", "multiprocessing", "logging"].map(str::to_owned));
    let link = zygote_link(zygote).await;
    up(&link).await;
    let code = "import random, uuid, secrets, tempfile, ssl, os, multiprocessing, time\n\
        print(random.random(), uuid.uuid4(), uuid.uuid1(), secrets.token_hex(), tempfile.mktemp(), \
        ssl.RAND_bytes(8), os.urandom(8), bytes(multiprocessing.current_process().authkey), \
        random.SystemRandom().random(), sep='\\n')";
    let mut seen = std::collections::HashSet::new();
    for _ in 0..6 {
        let report = python(&link, code).await;
        assert_eq!(report.status, Status::Ok, "{}", text(&report.stderr));
        assert_eq!(report.stdout.iter().filter(|byte| **byte == b'\n').count(), 9);
        for line in text(&report.stdout).lines() {
            assert!(seen.insert(line.to_owned()), "twice: {line}");
        }
    }
}

#[tokio::test]
async fn runs_go_on_without_their_zygote_and_another_comes() {
    let link = zygote_link(ZygoteOptions { spares: 1, ..zygote() }).await;
    up(&link).await;
    for pid in zygotes_of(link.launcher_pid()) {
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
    for _ in 0..3 {
        assert_eq!(text(&python(&link, "print(1)").await.stdout), "1\n");
    }
    up(&link).await;
}

#[tokio::test]
async fn a_run_whose_prepared_sandbox_was_killed_gets_another() {
    let link = zygote_link(zygote()).await;
    for _ in 0..5 {
        up(&link).await;
        for pid in children_of(link.launcher_pid()) {
            let pid = rustix::process::Pid::from_raw(pid).unwrap();
            // That of the run just ended may be gone already.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        let spec = Language::Python
            .run_spec("t".into(), "print(input())", vec![], b"all of it".to_vec(), limits())
            .unwrap();
        assert_eq!(text(&run(&link, spec).await.stdout), "all of it\n");
        assert_eq!(text(&bash(&link, "echo 2").await.stdout), "2\n");
    }
}

#[tokio::test]
async fn a_zygote_is_replaced_when_it_has_borne_enough() {
    let link = zygote_link(ZygoteOptions { renew_after_forks: 3, spares: 1, ..zygote() }).await;
    up(&link).await;
    let first = zygotes_of(link.launcher_pid());
    let until = Instant::now() + Duration::from_secs(10);
    while zygotes_of(link.launcher_pid()).iter().any(|pid| first.contains(pid)) {
        assert!(Instant::now() < until, "never replaced");
        assert_eq!(python(&link, "").await.status, Status::Ok);
    }
}

#[tokio::test]
async fn a_zygote_that_cannot_start_costs_nothing_but_itself() {
    for broken in [
        ZygoteOptions { preload: vec!["no_such_module_anywhere".into()], ..zygote() },
        ZygoteOptions { library: "/nowhere".into(), ..zygote() },
        ZygoteOptions { library: "/etc/passwd".into(), ..zygote() },
    ] {
        let link = zygote_link(broken).await;
        for _ in 0..3 {
            assert_eq!(text(&python(&link, BORN).await.stdout), "False\n");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn a_run_with_a_program_or_an_environment_of_its_own_starts_its_interpreter() {
    let link = zygote_link(zygote()).await;
    up(&link).await;
    let mut own = spec(Language::Python, BORN);
    own.env.push(("LANG".to_owned(), "C".to_owned()));
    assert_eq!(text(&run(&link, own).await.stdout), "False\n");
}

/// Children of a launcher that are zygotes.
fn zygotes_of(launcher: u32) -> Vec<i32> {
    let zygote = |pid: &i32| {
        let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        comm.trim() == "python3"
    };
    children_of(launcher).into_iter().filter(zygote).collect()
}

fn children_of(launcher: u32) -> Vec<i32> {
    let path = format!("/proc/{launcher}/task/{launcher}/children");
    let children = std::fs::read_to_string(path).unwrap_or_default();
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Waits until the launcher has this many children: what is prepared, and a zygote.
async fn settled(launcher: u32, wanted: usize) {
    let until = Instant::now() + Duration::from_secs(20);
    while children_of(launcher).len() != wanted {
        assert!(Instant::now() < until, "{} of {wanted}", children_of(launcher).len());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn zygotes_killed_at_any_moment_leave_no_child_behind_and_fail_no_run() {
    let zygote = ZygoteOptions { spares: 1, ..zygote() };
    let wanted = 1 + usize::from(options().spares) + 1;
    let link = zygote_link(zygote).await;
    let launcher = link.launcher_pid();
    let until = Instant::now() + Duration::from_secs(4);
    let killing = tokio::spawn(async move {
        for n in 0.. {
            tokio::time::sleep(Duration::from_millis(n * 7 % 40)).await;
            if Instant::now() > until {
                break;
            }
            for pid in zygotes_of(launcher) {
                let pid = rustix::process::Pid::from_raw(pid).unwrap();
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    });
    while Instant::now() < until {
        assert_eq!(text(&python(&link, "print(1)").await.stdout), "1\n");
    }
    killing.await.unwrap();
    up(&link).await;
    settled(launcher, wanted).await;
}

#[tokio::test]
async fn two_hundred_runs_of_zygotes_leave_nothing_behind() {
    let zygote = ZygoteOptions { renew_after_forks: 30, ..zygote() };
    let spares = usize::from(zygote.spares) + usize::from(options().spares) + 1;
    let link = zygote_link(zygote).await;
    let launcher = link.launcher_pid();
    up(&link).await;
    settled(launcher, spares).await;
    let before = steady_fds_of(launcher).await;
    for _ in 0..25 {
        let runs: Vec<_> = (0..8)
            .map(|n| {
                let link = link.clone();
                tokio::spawn(async move {
                    let code = [
                        "print('hi')",
                        "1 / 0",
                        "while True: print('y' * 1000)",
                        "import os\nif os.fork(): os._exit(0)\nimport time; time.sleep(99)",
                    ][n % 4];
                    let mut short = spec(Language::Python, code);
                    short.limits.output_bytes = 10_000;
                    run(&link, short).await.status
                })
            })
            .collect();
        for (n, one) in runs.into_iter().enumerate() {
            let wanted = [Status::Ok, Status::Error, Status::OutputLimit, Status::Ok][n % 4];
            assert_eq!(one.await.unwrap(), wanted);
        }
    }
    settled(launcher, spares).await;
    let after = steady_fds_of(launcher).await;
    assert!(after <= before, "the launcher holds {after} descriptors, {before} before");
}

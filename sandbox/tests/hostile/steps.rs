//! Attacks that only a sandbox that stays knows: on its driver, its pipes, its neighbours and its end.

use std::time::{Duration, Instant};

use ultimate_mcp_sandbox::client::{Session, Step};
use ultimate_mcp_sandbox::spec::{InputFile, Language, Limits, Status};
use ultimate_mcp_sandbox::step::{End, StepReport};
use ultimate_mcp_sandbox::{LauncherOptions, Link};

use crate::{host, options, soon};

fn limits() -> Limits {
    Limits {
        wall: Duration::from_secs(120),
        cpu: Duration::from_secs(60),
        memory_bytes: 128 << 20,
        pids: 32,
        output_bytes: 64 << 10,
        disk_bytes: 16 << 20,
        cpu_milli: 1000,
    }
}

async fn open(link: &Link) -> Session {
    let spec = Language::Python.sandbox_spec("hostile".into(), limits());
    link.open(spec.unwrap().unwrap(), 100).await.expect("it opens")
}

async fn try_step(session: &Session, code: &str, wall: Duration) -> Result<StepReport, End> {
    session.step(&Step { code: code.into(), wall, output_bytes: 64 << 10 }).await
}

async fn step(session: &Session, code: &str) -> StepReport {
    try_step(session, code, Duration::from_secs(2)).await.expect("the sandbox lives")
}

async fn link() -> Link {
    Link::spawn(options(true)).await.expect("the launcher starts")
}

/// A neighbour that must stay as it is, whatever its other does.
async fn victim(link: &Link) -> Session {
    let session = open(link).await;
    let code = "import os; os.environ['S'] = secret = 'kept' * 1000; open('/tmp/secret', 'w').write(secret)";
    assert_eq!(step(&session, code).await.status, Status::Ok);
    session
}

async fn unharmed(session: &Session) {
    let report = step(session, "secret == open('/tmp/secret').read() == 'kept' * 1000").await;
    assert_eq!(report.value.unwrap().text, "True");
}

/// Makes a reply frame as the driver would.
const FORGE: &str = "import os, struct, threading, time\n\
def forge(token, text=b'forged'):\n\
\x20   body = b'\\1\\0\\0\\1' + struct.pack('<I', len(text)) + text + b'\\0\\0\\0'\n\
\x20   return struct.pack('<HHQI', 0x5355, 2, token, len(body)) + body\n";

#[tokio::test]
async fn a_forged_answer_is_never_taken_for_one() {
    let link = link().await;
    let neighbour = victim(&link).await;
    // Numbers that a program may guess, answers before the question, two at once, too long, too short.
    for attack in [
        "os.write(4, forge(0))",
        "for token in range(64): os.write(4, forge(token))",
        "os.write(4, forge(7)[:9])",
        "os.write(4, os.urandom(5000))",
        "os.write(4, struct.pack('<HHQI', 0x5355, 2, 0, 0xffffffff))",
        "os.write(4, b'\\0' * 65536)",
    ] {
        let session = open(&link).await;
        let report = step(&session, &format!("{FORGE}{attack}\n'honest'")).await;
        assert!(report.value.is_none(), "{attack}: {report:?}");
        assert!(matches!(report.ended, Some(End::Broken(_))), "{attack}: {:?}", report.ended);
        assert_eq!(report.status, Status::SandboxError, "{attack}");
    }
    // Left in the pipe by a thread when nobody asks: found before the next question.
    let session = open(&link).await;
    let late =
        "threading.Timer(0.1, lambda: (os.write(4, forge(0)), open('done', 'w').close())).start()";
    assert_eq!(step(&session, &format!("{FORGE}{late}")).await.status, Status::Ok);
    let until = Instant::now() + Duration::from_secs(5);
    while session.read_file("done".into(), 1).await.is_err() {
        assert!(Instant::now() < until, "the thread did not run");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let report = step(&session, "1").await;
    assert!(matches!(report.ended, Some(End::Broken(_))), "{report:?}");
    unharmed(&neighbour).await;
}

#[tokio::test]
async fn a_program_that_takes_the_drivers_place_speaks_for_itself_alone() {
    let link = link().await;
    let neighbour = victim(&link).await;
    // It reads the next question itself, from a thread, and answers with its own words and bounds.
    let usurp = "def usurp():\n\
        \x20   head = os.read(3, 16)\n\
        \x20   token, length = struct.unpack('<QI', head[4:])\n\
        \x20   os.read(3, length)\n\
        \x20   os.write(4, forge(token, b'x' * SIZE))\n\
        threading.Thread(target=usurp, daemon=True).start()\ntime.sleep(0.1)";
    let session = open(&link).await;
    // The driver and the thread both wait for the question: whoever wins, the answer is bounded and the
    // caller's own, and the sandbox lives or ends with its name.
    step(&session, &format!("{FORGE}{}", usurp.replace("SIZE", "100"))).await;
    let _ = try_step(&session, "1", Duration::from_millis(500)).await;
    let session = open(&link).await;
    step(&session, &format!("{FORGE}{}", usurp.replace("SIZE", "(300 << 10)"))).await;
    if let Ok(report) = try_step(&session, "1", Duration::from_millis(500)).await {
        let shown = report.value.map_or(0, |value| value.text.len());
        assert!(shown <= 256 << 10, "{shown} bytes of a value");
    }
    unharmed(&neighbour).await;
}

#[tokio::test]
async fn closed_pipes_and_lost_drivers_end_the_sandbox_with_its_name() {
    let link = link().await;
    let neighbour = victim(&link).await;
    for attack in [
        "import os; os.close(4)",
        "import os; os.closerange(0, 1024)",
        "import os; os.dup2(1, 4)",
        "import os; os.execv('/bin/sleep', ['sleep', '100'])",
        "import os; os.kill(os.getpid(), 19)",
        "import ctypes; ctypes.string_at(0)",
        "import sys; sys.setrecursionlimit(1 << 30)\ndef f(): f()\nf()",
    ] {
        let session = open(&link).await;
        let began = Instant::now();
        let report = try_step(&session, attack, Duration::from_millis(500)).await.unwrap();
        assert!(report.ended.is_some(), "{attack}: {report:?}");
        assert!(began.elapsed() < Duration::from_secs(6), "{attack}: {:?}", began.elapsed());
    }
    // The question pipe closed: the interpreter ends with this step or before the next.
    let session = open(&link).await;
    if step(&session, "import os; os.close(3)").await.ended.is_none() {
        let next = try_step(&session, "1", Duration::from_millis(300)).await;
        // An error is the name of the end it came to in between.
        assert!(next.map_or(true, |report| report.ended.is_some()));
    }
    unharmed(&neighbour).await;
}

#[tokio::test]
async fn bombs_stay_within_the_limits_of_the_whole_life() {
    let link = link().await;
    let neighbour = victim(&link).await;
    let session = open(&link).await;
    let bomb = "import os, time\nmade = 0\ntry:\n  while made < 1000:\n    if os.fork() == 0: time.sleep(100)\n    made += 1\n\
                except OSError: pass\nmade";
    let report = step(&session, bomb).await;
    let made: u32 = report.value.expect("a number").text.parse().unwrap();
    assert!(made < 32, "{made} processes under a bound of 32");
    // Another step, and its processes are still there: no more fit.
    assert_eq!(
        step(&session, "try:\n  os.fork()\n  x = 1\nexcept OSError: x = 0\nx")
            .await
            .value
            .unwrap()
            .text,
        "0"
    );
    let report = step(&session, "a = [bytearray(8 << 20) for _ in range(100)]").await;
    assert_eq!((report.status, report.ended), (Status::Oom, Some(End::Memory)));

    let session = open(&link).await;
    let fill = "n = 0\ntry:\n  with open('/tmp/fill', 'wb') as f:\n    while n < 1000: n += len(f.write(b'x' * (1 << 20)) and 'x'); f.flush()\n\
                except OSError as e: pass\nn";
    assert_eq!(step(&session, fill).await.status, Status::Ok);
    let more = InputFile { path: "more".into(), content: vec![1; 2 << 20] };
    assert!(
        session.write_files(&[more], Duration::from_secs(5)).await.is_err(),
        "beyond disk_bytes"
    );
    assert_eq!(step(&session, "import os; os.remove('/tmp/fill'); 1").await.status, Status::Ok);

    // The kernel's part of the pipes: requests are not read, output is not either.
    let session = open(&link).await;
    let noise = "import os, threading\ndef noise():\n  while True: os.write(1, b'x' * 65536)\n\
                 [threading.Thread(target=noise, daemon=True).start() for _ in range(4)]\n1";
    let report = step(&session, noise).await;
    assert!(report.stdout.len() <= 64 << 10);
    let report = step(&session, "1").await;
    assert!(
        report.stdout.len() <= 64 << 10 && report.duration < Duration::from_secs(4),
        "{report:?}"
    );
    unharmed(&neighbour).await;
}

#[tokio::test]
async fn sandboxes_see_nothing_of_each_other() {
    let link = link().await;
    let neighbour = victim(&link).await;
    let session = open(&link).await;
    let look = "import os\nfound = []\nfor p in os.listdir('/proc'):\n  if p.isdigit():\n    try: found.append((p, open(f'/proc/{p}/environ').read()[:20000], os.listdir(f'/proc/{p}/fd')))\n    except OSError: pass\n\
                pids = [p for p in os.listdir('/proc') if p.isdigit()]\n\
                files = os.listdir('/tmp') + os.listdir('/dev/shm')\n\
                ('keptkept' in str(found), len(pids) <= 2, files, [os.readlink(f'/proc/self/fd/{n}').split(':')[0] for n in (3, 4)])";
    let report = step(&session, look).await;
    assert_eq!(report.value.unwrap().text, "(False, True, [], ['pipe', 'pipe'])");
    // Signals to every process it can name, and to all numbers: the neighbour lives.
    let signal = "import os\nfor p in range(2, 70000):\n  if p == os.getpid(): continue\n  try: os.kill(p, 9); x = p\n  except OSError: pass\n1";
    try_step(&session, signal, Duration::from_secs(5)).await.unwrap();
    // Descriptors sent through the pipe are impossible; opened again they are its own.
    let again = "import os\nr = os.open('/proc/self/fd/3', os.O_WRONLY | os.O_NONBLOCK)\nos.write(r, b'')\n1";
    step(&session, again).await;
    unharmed(&neighbour).await;
}

#[tokio::test]
async fn nothing_outlives_a_close_or_a_deadline() {
    let link = link().await;
    let mark = format!("stay{:x}", std::process::id() & 0xffff);
    let leave = format!(
        "import ctypes, os, signal, threading, time\n\
         for s in range(1, 64):\n  try: signal.signal(s, signal.SIG_IGN)\n  except (OSError, ValueError): pass\n\
         ctypes.CDLL(None).prctl(15, b'{mark}', 0, 0, 0)\n\
         for _ in range(6):\n  if os.fork() == 0:\n    os.setsid()\n    while True: time.sleep(100)\n\
         threading.Thread(target=lambda: time.sleep(1000)).start()\n"
    );
    let session = open(&link).await;
    step(&session, &leave).await;
    assert!(host::survivors(&mark).len() >= 7, "the daemons go on between steps");
    let (end, _) = session.close(End::Closed).await;
    assert_eq!(end, End::Closed);
    assert!(soon(|| host::survivors(&mark).is_empty()).await, "{:?}", host::survivors(&mark));

    let session = open(&link).await;
    let report =
        try_step(&session, &format!("{leave}while True: x = 1"), Duration::from_millis(500)).await;
    assert_eq!(report.unwrap().ended, Some(End::StepOverran));
    assert!(soon(|| host::survivors(&mark).is_empty()).await, "{:?}", host::survivors(&mark));

    // A step in hand when the sandbox is dropped, or its waiter leaves.
    let session = open(&link).await;
    let endless = format!("{leave}while True: x = 1");
    let wait = try_step(&session, &endless, Duration::from_secs(60));
    tokio::select! {
        report = wait => panic!("it ended: {report:?}"),
        there = soon(|| !host::survivors(&mark).is_empty()) => assert!(there),
    }
    assert!(matches!(session.ended().await, End::Broken(_)));
    assert!(soon(|| host::survivors(&mark).is_empty()).await, "{:?}", host::survivors(&mark));
}

#[tokio::test]
async fn two_hundred_sandboxes_leave_nothing_behind() {
    let link = Link::spawn(LauncherOptions { spares: 0, ..options(true) }).await.unwrap();
    let launcher = link.launcher_pid();
    let own = || host::descriptors(std::process::id());
    let mounts = || std::fs::read_to_string(format!("/proc/{launcher}/mountinfo")).unwrap();
    let round = async |code: &str| {
        let session = open(&link).await;
        let file = InputFile { path: "in".into(), content: b"x".to_vec() };
        session.write_files(&[file], Duration::from_secs(5)).await.unwrap();
        let _ = step(&session, code).await;
        session.close(End::Closed).await;
    };
    round("1").await;
    assert!(soon(|| host::children(launcher).is_empty()).await);
    let (held, mounted) = (host::descriptors(launcher), mounts());
    for n in 0..200 {
        let code = match n % 4 {
            0 => "1 + 1",
            1 => {
                "import os, time\nif os.fork() == 0: time.sleep(100)\nopen('out/x', 'w').write('x')"
            }
            2 => "import os; os._exit(3)",
            _ => "1 / 0",
        };
        round(code).await;
    }
    assert!(soon(|| host::children(launcher).is_empty()).await, "{:?}", host::children(launcher));
    assert!(
        soon(|| host::run_groups(launcher).is_empty()).await,
        "{:?}",
        host::run_groups(launcher)
    );
    assert!(soon(|| host::descriptors(launcher) <= held).await, "{held} before");
    assert_eq!(mounts(), mounted);
    // Ours: those of the other tests of this process come and go, a leak of 200 would not.
    assert!(soon(|| own() < 150).await, "{} descriptors", own());
}

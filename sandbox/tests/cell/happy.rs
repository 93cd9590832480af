//! Ordinary programs do what they do anywhere.

use ultimate_mcp_sandbox::spec::{InputFile, Language, Status};

use crate::harness::{bash, link, python, run, spec, text, with_files};

fn file(path: &str, content: &str) -> InputFile {
    InputFile { path: path.into(), content: content.into() }
}

#[tokio::test]
async fn each_language_prints_and_ends() {
    let link = link().await;
    for (language, code) in [
        (Language::Python, "print(1)"),
        (Language::JavaScript, "console.log(1)"),
        (Language::Bash, "echo 1 | cat"),
    ] {
        let report = run(&link, spec(language, code)).await;
        assert_eq!(
            (report.status, text(&report.stdout).as_str()),
            (Status::Ok, "1\n"),
            "{report:?}"
        );
        assert_eq!((report.return_code, report.signal), (Some(0), None));
        assert!(report.cpu.as_micros() > 0 && report.memory_peak_bytes > Some(0), "{report:?}");
    }
}

#[tokio::test]
async fn an_exit_code_is_reported_as_it_is() {
    let link = link().await;
    for (language, code) in [
        (Language::Python, "import sys; sys.exit(7)"),
        (Language::JavaScript, "process.exit(7)"),
        (Language::Bash, "exit 7"),
    ] {
        let report = run(&link, spec(language, code)).await;
        assert_eq!((report.status, report.return_code), (Status::Error, Some(7)), "{report:?}");
    }
}

#[tokio::test]
async fn a_source_that_does_not_compile_is_told_apart_from_a_program_that_fails() {
    let link = link().await;
    for (language, code, said) in [
        (Language::Python, "print('never')\ndef f(:\n  pass", "main.py\", line 2"),
        (Language::JavaScript, "console.log('never');\nlet = = 3;", "main."),
        (
            Language::JavaScript,
            "import fs from 'fs';\nconsole.log('never');\nlet = = 3;",
            "main.mjs",
        ),
        (Language::Bash, "echo never\nif true; then\n", "main.sh: line "),
    ] {
        let report = run(&link, spec(language, code)).await;
        assert_eq!(report.status, Status::CompileError, "{language:?} {report:?}");
        assert!(text(&report.stderr).contains(said), "{}", text(&report.stderr));
        assert_eq!(text(&report.stdout), "", "something ran before the compile error");
    }
}

#[tokio::test]
async fn a_program_cannot_pretend_a_compile_error() {
    let link = link().await;
    for (language, code) in [
        (Language::Python, "raise SyntaxError('not really')"),
        (Language::Python, "compile('def f(:', 'x', 'exec')"),
        (Language::JavaScript, "throw new SyntaxError('not really')"),
        (Language::JavaScript, "import 'fs'; JSON.parse('{')"),
        (Language::Bash, "eval 'if true; then'; exit 2"),
    ] {
        let report = run(&link, spec(language, code)).await;
        assert_eq!(report.status, Status::Error, "{language:?} {code} {report:?}");
    }
}

#[tokio::test]
async fn standard_input_arrives_whole_and_ends() {
    let link = link().await;
    let mut long =
        spec(Language::Python, "import sys; d = sys.stdin.buffer.read(); print(len(d), d[:3])");
    long.stdin = vec![b'x'; 3 << 20];
    let report = run(&link, long).await;
    assert_eq!(text(&report.stdout), "3145728 b'xxx'\n", "{report:?}");
    let mut short = spec(Language::Bash, "read a; read b; echo $b $a");
    short.stdin = b"one\ntwo\n".to_vec();
    assert_eq!(text(&run(&link, short).await.stdout), "two one\n");
    let report = run(&link, spec(Language::Bash, "cat; echo end")).await;
    assert_eq!(text(&report.stdout), "end\n");
}

#[tokio::test]
async fn a_payload_that_never_reads_its_input_ends_all_the_same() {
    let link = link().await;
    let mut deaf = spec(Language::Python, "print('done')");
    deaf.stdin = vec![b'x'; 8 << 20];
    assert_eq!(text(&run(&link, deaf).await.stdout), "done\n");
}

#[tokio::test]
async fn input_files_are_there_in_their_folders() {
    let link = link().await;
    let files = vec![
        file("lib/__init__.py", ""),
        file("lib/deep/data.txt", "42"),
        file("helper.py", "x = 5"),
    ];
    let code = "import helper, lib, os\nprint(helper.x, open('lib/deep/data.txt').read(), os.getcwd())\n\
        open('lib/new', 'w').write('mine')";
    let report = run(&link, with_files(Language::Python, code, files)).await;
    assert_eq!(text(&report.stdout), "5 42 /box\n", "{report:?}");
}

#[tokio::test]
async fn javascript_runs_as_a_module_when_it_is_one() {
    let link = link().await;
    let files = vec![file("other.mjs", "export const answer = 42;")];
    let code =
        "import { answer } from './other.mjs';\nawait null;\nconsole.log(answer, import.meta.url);";
    let report = run(&link, with_files(Language::JavaScript, code, files)).await;
    assert_eq!(text(&report.stdout), "42 file:///box/main.mjs\n", "{report:?}");
    let code =
        "const o = require('./other.js'); console.log(o, __filename, require.main === module)";
    let files = vec![file("other.js", "module.exports = 7")];
    let report = run(&link, with_files(Language::JavaScript, code, files)).await;
    assert_eq!(text(&report.stdout), "7 /box/main.js true\n", "{report:?}");
}

#[tokio::test]
async fn a_python_program_sees_the_world_of_a_script() {
    let link = link().await;
    let code = "import sys\nassert __name__ == '__main__' and __file__ == '/box/main.py'\n\
        assert sys.argv == ['/box/main.py'] and sys.path[0] == '/box'\n\
        assert [n for n in globals() if not n.startswith('__')] == ['sys'], globals()\nexit(3)";
    let report = python(&link, code).await;
    assert_eq!(report.return_code, Some(3), "{}", text(&report.stderr));
    let report = python(&link, "def f():\n    return 1/0\nf()").await;
    let stderr = text(&report.stderr);
    assert!(stderr.contains("File \"/box/main.py\", line 2, in f"), "{stderr}");
    assert!(!stderr.contains("<string>"), "our own frames show: {stderr}");
}

#[tokio::test]
async fn python_libraries_work() {
    let link = link().await;
    let code = r#"
import asyncio, ctypes, hashlib, json, multiprocessing, os, queue, random, socket, sqlite3, ssl
import subprocess, tempfile, threading, time, uuid, zlib
from concurrent.futures import ThreadPoolExecutor, ProcessPoolExecutor

def square(x):
    return x * x

def main():
    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(square, range(10))) == 285
    with ProcessPoolExecutor(2) as pool:
        assert sum(pool.map(square, range(10))) == 285
    with multiprocessing.Pool(2) as pool:
        assert pool.map(square, [2, 3]) == [4, 9]
    lock = multiprocessing.Lock()
    with lock:
        pass
    assert subprocess.run(['sh', '-c', 'echo hi | tr a-z A-Z'], capture_output=True).stdout == b'HI\n'
    db = sqlite3.connect('test.db')
    db.execute('create table t(x)')
    db.execute('insert into t values (1)')
    db.commit()
    assert db.execute('select x from t').fetchone() == (1,)
    ssl.create_default_context()
    async def serve():
        async def handle(reader, writer):
            writer.write(await reader.readline())
            await writer.drain()
            writer.close()
        server = await asyncio.start_server(handle, '127.0.0.1', 0)
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection('localhost', port)
        writer.write(b'echo\n')
        assert await reader.readline() == b'echo\n'
        process = await asyncio.create_subprocess_exec('true')
        assert await process.wait() == 0
    asyncio.run(serve())
    with tempfile.NamedTemporaryFile() as f:
        f.write(b'x')
    left, right = socket.socketpair()
    left.send(b'x')
    assert right.recv(1) == b'x'
    assert ctypes.CDLL(None).getpid() == os.getpid()
    timer = threading.Timer(0.01, lambda: None)
    timer.start()
    timer.join()
    os.sched_getaffinity(0)
    os.memfd_create('x')
    uuid.uuid4(), random.random(), os.urandom(8), os.getlogin if False else None
    import pwd
    assert pwd.getpwuid(os.getuid()).pw_dir == '/box'
    print('fine')

if __name__ == '__main__':
    main()
"#;
    let report = python(&link, code).await;
    assert_eq!(text(&report.stdout), "fine\n", "{}", text(&report.stderr));
}

#[tokio::test]
async fn node_libraries_work() {
    let link = link().await;
    let code = r#"
const { Worker, isMainThread, parentPort } = require('worker_threads');
const { execSync, spawn } = require('child_process');
const fs = require('fs'), os = require('os'), http = require('http'), crypto = require('crypto');
if (!isMainThread) { parentPort.postMessage(6 * 7); return; }
(async () => {
  const worker = new Worker(__filename);
  const answer = await new Promise((done) => worker.on('message', done));
  if (answer !== 42) throw new Error('worker');
  if (execSync('echo hi | tr a-z A-Z').toString() !== 'HI\n') throw new Error('exec');
  await new Promise((done) => spawn('true').on('exit', done));
  fs.writeFileSync('x', 'y'); fs.mkdirSync('d'); fs.renameSync('x', 'd/x'); fs.watchFile('d/x', () => 0); fs.unwatchFile('d/x');
  if (fs.readdirSync('.').length !== 3) throw new Error('fs ' + fs.readdirSync('.'));
  await fs.promises.readFile('d/x');
  os.cpus(); os.totalmem(); os.tmpdir(); crypto.randomBytes(8);
  const server = http.createServer((_, res) => res.end('pong')).listen(0, '127.0.0.1');
  await new Promise((done) => server.on('listening', done));
  const reply = await fetch(`http://127.0.0.1:${server.address().port}/`);
  if (await reply.text() !== 'pong') throw new Error('fetch');
  server.close();
  await WebAssembly.compile(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]));
  console.log('fine');
  process.exit(0);
})();
"#;
    let report = run(&link, spec(Language::JavaScript, code)).await;
    assert_eq!(text(&report.stdout), "fine\n", "{}", text(&report.stderr));
}

#[tokio::test]
async fn shell_programs_work() {
    let link = link().await;
    let code = r#"
set -eo pipefail
mkdir -p a/b && printf '%s\n' c a b > a/b/x
sort a/b/x | paste -sd, - | sed 's/,/-/g' | awk '{ print $1 }'
(yes || true) | head -n 2 | wc -l
mkfifo pipe; (echo through > pipe &) ; cat pipe
trap 'echo trapped' USR1; kill -USR1 $$
ln -s a link; cp -r a copy; find . -type f | wc -l
tar cf - a | tar tf - | tail -1
date +%Y > /dev/null; expr 6 \* 7; [[ abc =~ ^a ]]; echo $((2**10))
diff <(echo 1) <(echo 1) && echo same
python3 -c 'print("nested")'
sleep 0.01 & wait
grep -c . /etc/passwd
"#;
    let report = bash(&link, code).await;
    let want = "a-b-c\n2\nthrough\ntrapped\n3\na/b/x\n42\n1024\nsame\nnested\n3\n";
    assert_eq!(text(&report.stdout), want, "{}", text(&report.stderr));
}

#[tokio::test]
async fn output_streams_to_a_sink_while_the_program_runs() {
    use std::sync::{Arc, Mutex};
    use ultimate_mcp_sandbox::client::{RunOptions, Stream};
    let link = link().await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    let options = RunOptions {
        sink: Some(Arc::new(move |stream, bytes: &[u8]| {
            sink.lock().unwrap().push((stream, bytes.to_vec()));
        })),
        ..RunOptions::default()
    };
    let code = "echo one; sleep 0.05; echo two >&2; sleep 0.05; echo three";
    let report = link.run(spec(Language::Bash, code), options).await.unwrap();
    assert_eq!(text(&report.stdout), "one\nthree\n");
    let seen = seen.lock().unwrap().clone();
    let want = [(Stream::Stdout, "one\n"), (Stream::Stderr, "two\n"), (Stream::Stdout, "three\n")];
    assert_eq!(seen, want.map(|(stream, text)| (stream, text.as_bytes().to_vec())));
}

#[tokio::test]
async fn a_program_that_is_not_there_is_unsupported() {
    let link = link().await;
    let mut absent = spec(Language::Bash, "");
    absent.argv = vec!["/usr/bin/no-such-program".into()];
    let report = run(&link, absent).await;
    assert_eq!(report.status, Status::Unsupported, "{report:?}");
    assert!(report.message.unwrap().contains("executing the program"));
}

#[tokio::test]
async fn operator_tools_are_there_and_read_only() {
    let tools = tempfile::tempdir().unwrap();
    std::fs::write(tools.path().join("hello"), "#!/bin/sh\necho from tools\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(tools.path().join("hello"), mode).unwrap();
    std::fs::set_permissions(tools.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let mut options = crate::harness::options();
    options.tools_dir = Some(tools.path().to_owned());
    let link = ultimate_mcp_sandbox::Link::spawn(options).await.unwrap();
    let report =
        bash(&link, "/opt/tools/hello; touch /opt/tools/x 2>/dev/null || echo refused").await;
    assert_eq!(text(&report.stdout), "from tools\nrefused\n", "{report:?}");
}

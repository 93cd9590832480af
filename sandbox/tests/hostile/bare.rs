//! Runs a marked attack without any cell, as an ordinary user: it must succeed, or it proves nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use ultimate_mcp_sandbox::spec::Language;

use crate::host::Host;
use crate::program::Program;

/// Answers what is wrong: the attack said nothing of a breach.
pub fn run(host: &Host, program: &Program, number: usize) -> Option<String> {
    let folder = host.folder(&format!("bare{number}"));
    fs::create_dir(folder.join("out")).unwrap();
    fs::set_permissions(folder.join("out"), PermissionsExt::from_mode(0o777)).unwrap();
    let survivor = format!("bare{:x}-{number}", std::process::id() & 0xffff);
    for file in program.bare_files(&host.canary(&survivor, program)) {
        fs::write(folder.join(&file.path), &file.content).unwrap();
    }
    let interpreter = program.language.interpreter().expect("installed");
    let arguments: &[&str] = if program.language == Language::Python { &["-I"] } else { &[] };
    // Never as root: the attack is judged by what an ordinary process of the host could do.
    let as_nobody: &[&str] = match fs::read_link("/proc/self/exe").and(fs::metadata("/proc/self")) {
        Ok(own) if std::os::unix::fs::MetadataExt::uid(&own) == 0 => {
            &["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
        }
        _ => &["env"],
    };
    let output = Command::new(as_nobody[0])
        .args(&as_nobody[1..])
        .args(["timeout", "--signal=KILL", "60", interpreter])
        .args(arguments)
        .arg(program.language.main_file())
        .current_dir(&folder)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("SERVER_SECRET", &host.secret)
        .stdin(Stdio::null())
        .output()
        .expect("setpriv and timeout are installed");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    (!said.contains("BREACH")).then(|| format!("{}: {said}{errors}", program.name))
}

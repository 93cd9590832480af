//! What a program inside can see and reach. (The hostile programs live in `tests/security`.)

use ultimate_mcp_sandbox::spec::Language;

use crate::harness::{bash, link, python, run, spec, text};

#[tokio::test]
async fn a_program_has_exactly_three_descriptors() {
    let link = link().await;
    let report =
        python(&link, "import os\nprint(sorted(int(f) for f in os.listdir('/proc/self/fd'))[:-1])")
            .await;
    assert_eq!(text(&report.stdout), "[0, 1, 2]\n", "{report:?}");
    let report = run(
        &link,
        spec(
            Language::JavaScript,
            "try { require('fs').fstatSync(3); } catch (e) { console.log(e.code) }",
        ),
    )
    .await;
    let out = text(&report.stdout);
    assert!(out.is_empty() || out == "EBADF\n", "{out}");
    let report = bash(
        &link,
        "for f in 0 1 2 3 4 5 6 7 8 9; do [ -e /proc/$$/fd/$f ] && printf '%s ' $f; done; true",
    )
    .await;
    assert_eq!(text(&report.stdout), "0 1 2 ", "{report:?}");
}

#[tokio::test]
async fn the_environment_is_clean_and_so_is_that_of_init() {
    let link = link().await;
    let report = bash(&link, "env | sort; cat /proc/1/environ /proc/1/cmdline 2>&1 | wc -c").await;
    let out = text(&report.stdout);
    let names: Vec<&str> =
        out.lines().filter_map(|line| line.split_once('=').map(|(k, _)| k)).collect();
    assert_eq!(names, ["HOME", "LANG", "PATH", "PWD", "SHLVL", "TMPDIR", "_"], "{out}");
    let report = bash(&link, "cat /proc/1/environ; cat /proc/1/maps; ls /proc | grep -x 1").await;
    assert_eq!(text(&report.stdout), "", "{report:?}");
}

#[tokio::test]
async fn no_capability_no_privilege_another_user() {
    let link = link().await;
    let report = bash(&link, "id -u; id -G; grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status; hostname 2>/dev/null || cat /proc/sys/kernel/hostname").await;
    let want = "1000\n1000\nCapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n\
        CapBnd:\t0000000000000000\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\ncell\n";
    assert_eq!(text(&report.stdout), want, "{report:?}");
}

#[tokio::test]
async fn only_its_own_processes_and_files_show() {
    let link = link().await;
    let report = bash(&link, "ls -d /proc/[0-9]* | wc -l; ls -A /; ls -A /box /tmp /dev/shm").await;
    let out = text(&report.stdout);
    let processes: u32 = out.lines().next().unwrap().parse().unwrap();
    assert!(processes <= 3, "{out}");
    for host in ["root", "home", "var", "sys", "work", "run", "srv", "mnt"] {
        assert!(!out.lines().any(|line| line == host), "{host} shows: {out}");
    }
}

#[tokio::test]
async fn nothing_but_its_own_places_can_be_written() {
    let link = link().await;
    let code = "for p in / /usr /usr/bin /etc /etc/passwd /dev /opt /proc/sys/kernel/hostname /proc/self/oom_score_adj /proc /bin/sh; do\n\
        if [ -d $p ]; then touch $p/x 2>/dev/null && echo wrote $p; else (echo x >> $p) 2>/dev/null && echo wrote $p; fi; done\n\
        for p in /box /tmp /dev/shm; do touch $p/x && echo own $p; done; echo x > /dev/null && echo null";
    let report = bash(&link, code).await;
    assert_eq!(text(&report.stdout), "own /box\nown /tmp\nown /dev/shm\nnull\n", "{report:?}");
}

#[tokio::test]
async fn what_tells_about_the_host_is_covered() {
    let link = link().await;
    let code = "cat /proc/kallsyms /proc/keys /proc/cmdline /proc/config.gz /proc/modules /proc/kcore /proc/kmsg \
        /proc/timer_list /proc/vmallocinfo /proc/interrupts /proc/partitions 2>/dev/null | wc -c\n\
        ls -A /proc/bus /proc/fs /proc/irq /proc/driver 2>/dev/null | grep -v : | wc -w\n\
        cat /proc/self/cgroup | cut -d: -f3 | sort -u\n\
        head -1 /proc/meminfo | cut -d: -f1; wc -l < /proc/sys/kernel/hostname";
    let report = bash(&link, code).await;
    assert_eq!(text(&report.stdout), "0\n0\n/\nMemTotal\n1\n", "{report:?}");
}

#[tokio::test]
async fn the_network_is_an_own_loopback_and_nothing_else() {
    let link = link().await;
    let code = "import socket, os\nprint([n for _, n in socket.if_nameindex()] if False else sorted(l.split(':')[0].strip() for l in open('/proc/net/dev').readlines()[2:]))\n\
        s = socket.socket()\ns.settimeout(1)\ntry:\n  s.connect(('1.1.1.1', 53))\nexcept OSError as e:\n  print(e.errno)\n\
        for f, t, p in [(16, 3, 0), (17, 3, 0), (2, 3, 1), (40, 1, 0), (2, 1, 262)]:\n  try:\n    socket.socket(f, t, p); print('opened', f, t, p)\n  except OSError:\n    pass";
    let report = python(&link, code).await;
    assert_eq!(text(&report.stdout), "['lo']\n101\n", "{report:?}");
}

#[tokio::test]
async fn one_run_leaves_nothing_for_the_next() {
    let link = link().await;
    bash(
        &link,
        "echo mine > /tmp/x; echo mine > /dev/shm/x; echo mine > /box/x; (setsid sleep 100 &)",
    )
    .await;
    let report =
        bash(&link, "ls -A /tmp /dev/shm /box; pgrep sleep; ls -d /proc/[0-9]* | wc -l").await;
    let out = text(&report.stdout);
    assert!(
        !out.lines().any(|line| line == "x") && out.ends_with(" 3\n") || !out.contains("\nx\n"),
        "{out}"
    );
}

#[tokio::test]
async fn two_runs_at_once_have_different_users_on_the_host() {
    let link = link().await;
    let code = "import time\nprint(open('/proc/self/uid_map').read().split())\ntime.sleep(0.3)";
    let (a, b) = tokio::join!(python(&link, code), python(&link, code));
    assert_ne!(text(&a.stdout), text(&b.stdout));
    assert!(!text(&a.stdout).contains("'0', '0'"), "host root is mapped: {}", text(&a.stdout));
}

#[tokio::test]
async fn set_uid_programs_give_nothing() {
    let link = link().await;
    let report = bash(&link, "for p in su passwd mount umount newgrp chsh; do [ -u /usr/bin/$p ] && grep -q 'nosuid' /proc/self/mountinfo; done; su -c id root </dev/null 2>&1 | grep -c uid=0; true").await;
    assert_eq!(text(&report.stdout), "0\n", "{report:?}");
}

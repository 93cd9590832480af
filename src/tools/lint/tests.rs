//! `lint_code`: the outline per language, and linters played by a fake cell.

use std::time::Instant;

use serde_json::json;
use ultimate_mcp_sandbox::spec::RunReport;

use super::*;
use crate::tools::Typed;
use crate::tools::cell::fake::{FakeCell, report};
use crate::tools::memo::fake::FakeMemo;
use crate::tools::testing::{call, refusal, result};

/// `functions | classes | imports | complexity`, as one line.
fn shape(language: LintLanguage, source: &str) -> String {
    let outline = outline(language, source);
    assert_eq!(outline.errors, [], "{} source does not parse", language.slug());
    let functions: Vec<_> = outline
        .functions
        .iter()
        .map(|f| {
            let class = f.class.as_ref().map(|c| format!("{c}.")).unwrap_or_default();
            let mark = if f.is_async { "async " } else { "" };
            format!("{mark}{class}{}={}", f.name, f.complexity)
        })
        .collect();
    let classes: Vec<_> =
        outline.classes.iter().map(|c| format!("{} {}", c.kind, c.name)).collect();
    let imports: Vec<_> = outline
        .imports
        .iter()
        .map(|i| match i.names.is_empty() {
            true => i.module.clone(),
            false => format!("{}:{{{}}}", i.module, i.names.join(" ")),
        })
        .collect();
    [functions.join(", "), classes.join(", "), imports.join(", "), outline.complexity.to_string()]
        .join(" | ")
}

#[test]
fn python_is_outlined_right() {
    let source = r#"
from __future__ import annotations
import os, sys as system
import a.b.c
from x import y
from .pkg.mod import (one, two as zwei)
from . import sibling
from z import *

class Stack(Base):
    def push(self, x): self.items.append(x)
    @property
    async def top(self):
        return self.items[-1] if self.items and self.ok else None
    class Inner:
        def f(self): pass

async def main(n):
    for i in range(n):
        try:
            assert i
        except (ValueError, KeyError):
            pass
        while i or n and not i:
            i -= 1
    def helper():
        return [v for v in n if v]
    match n:
        case 1: pass
        case _: pass
    with open(n) as f: pass
    return lambda q: q or 1

if main: pass
"#;
    assert_eq!(
        shape(LintLanguage::Python, source),
        "Stack.push=1, async Stack.top=3, Inner.f=1, async main=8, helper=3 | \
         class Stack, class Inner | \
         __future__:{annotations}, os, sys, a.b.c, x:{y}, .pkg.mod:{one two}, .:{sibling}, z:{*} | 18"
    );
}

#[test]
fn javascript_is_outlined_right() {
    let source = r#"
import fs from "node:fs";
import * as path from 'path';
import def, { a as b, c } from "./mod.js";
import "side-effect";
export { x, y as z } from "./re.js";
export * from "all";
const cp = require("child_process");
const lazy = () => import("lazy");

export default class Cart extends Base {
  #total = 0;
  add = async (item) => { if (item?.price ?? 0) return 1; };
  static async *walk() { for await (const x of y) yield x; }
  get size() { return this.n > 0 ? this.n : 0; }
}
async function load(n) {
  switch (n) { case 1: case 2: return 1; default: return 2; }
}
function* gen() { do { yield 1 } while (true && n || m) }
const obj = { run() {}, key: function () { try {} catch {} } };
list.map(x => x && 1);
n ||= 3;
const el = <div onClick={() => 1}>{n}</div>;
"#;
    assert_eq!(
        shape(LintLanguage::JavaScript, source),
        "lazy=1, async Cart.add=3, async Cart.walk=2, Cart.size=2, async load=3, gen=4, run=1, key=2 | \
         class Cart | \
         node:fs:{default}, path:{*}, ./mod.js:{default a c}, side-effect, ./re.js:{x y}, all:{*}, \
         child_process, lazy | 21"
    );
}

#[test]
fn typescript_and_tsx_are_outlined_right() {
    let source = r#"
import type { T } from "./types";
import fs = require("fs");
interface Shape { area(): number }
enum Color { Red }
abstract class Box<T> implements Shape {
  constructor(private w: number) { super(); }
  area(): number { return <number>this.w || 1; }
  protected handler = (e: Event): void => { if (e) {} };
}
export async function go<T>(x: T): Promise<T> { return x as T; }
"#;
    assert_eq!(
        shape(LintLanguage::TypeScript, source),
        "Box.constructor=1, Box.area=2, Box.handler=2, async go=1 | \
         interface Shape, enum Color, class Box | ./types:{T}, fs | 7"
    );
    let tsx = "const App = (p: Props): JSX.Element => <div>{p.a ? 1 : 2}</div>;";
    assert_eq!(shape(LintLanguage::TypeScript, tsx), "App=2 |  |  | 3");
    assert!(outline(LintLanguage::TypeScript, tsx).is_variant);
}

#[test]
fn bash_is_outlined_right() {
    let source = r#"#!/bin/bash
source ./lib.sh
. "/etc/profile"
main() {
  if [[ -f $1 && -r $1 ]]; then cat "$1"; elif [ -d "$1" ]; then ls; fi
  for f in *; do echo "$f" || exit 1; done
  case "$1" in a) ;; b|c) ;; *) ;; esac
}
function other { while read -r l; do :; done; }
main "$@" && other
"#;
    assert_eq!(
        shape(LintLanguage::Bash, source),
        "main=8, other=2 |  | ./lib.sh, /etc/profile | 12"
    );
}

#[test]
fn rust_is_outlined_right() {
    let source = r#"
use std::{fs, io::{self, Read as R}};
use crate::a::*;
use anyhow;
extern crate alloc;
pub struct Pool<T> { items: Vec<T> }
enum E { A, B }
union U { a: u8 }
trait Greet { fn hi(&self); fn twice(&self) { self.hi() } }
impl<T> Pool<T> {
    pub async fn get(&self, n: usize) -> Option<&T> {
        let x = self.items.get(n)?;
        if n > 1 && n < 9 { return None; }
        match n { 0 => None, 1 | 2 => Some(x), _ => Some(x) }
    }
}
impl Greet for E { fn hi(&self) { loop { break } } }
fn free() { let c = |a: bool| a || false; while c(true) {} for _ in 0..1 {} }
"#;
    assert_eq!(
        shape(LintLanguage::Rust, source),
        "Greet.twice=1, async Pool.get=6, E.hi=1, free=4 | \
         struct Pool, enum E, union U, trait Greet | \
         std:{fs}, std::io:{self Read}, crate::a:{*}, anyhow, alloc | 13"
    );
}

#[test]
fn go_is_outlined_right() {
    let source = r#"package main
import "fmt"
import (
	f "net/http"
	_ "embed"
)
type Stack[T any] struct { items []T }
type Shape interface { Area() float64 }
func (s *Stack[T]) Push(x T) { s.items = append(s.items, x) }
func main() {
	for i := 0; i < 3; i++ {
		if i == 1 || i == 2 { fmt.Println(i) }
	}
	switch x := any(1).(type) { case int: case string: default: _ = x }
	select { case <-ch: default: }
	go func() { if true {} }()
}
"#;
    assert_eq!(
        shape(LintLanguage::Go, source),
        "Stack.Push=1, main=8 | struct Stack, interface Shape | fmt, net/http, embed | 10"
    );
}

#[test]
fn c_is_outlined_right() {
    let source = r#"
#include <stdio.h>
#include "local.h"
struct point { int x, y; };
typedef struct { int a; } pair_t;
enum color { RED };
static char *(*pick(int n))(void) { return n ? 0 : 0; }
int main(int argc, char **argv) {
    for (int i = 0; i < argc && argv; i++) { do { } while (0); }
    switch (argc) { case 1: case 2: break; default: break; }
    return 0;
}
"#;
    assert_eq!(
        shape(LintLanguage::C, source),
        "pick=2, main=6 | struct point, struct pair_t, enum color | stdio.h, local.h | 9"
    );
}

#[test]
fn syntax_errors_are_found_in_every_language_where_they_are() {
    let table = [
        (LintLanguage::Python, "x = 1\ndef f(:\n  pass\n", 2),
        (LintLanguage::JavaScript, "let a = 1;\nlet b = ;\n", 2),
        (LintLanguage::TypeScript, "let a: number = 1;\nfunction ( {\n", 2),
        (LintLanguage::Bash, "echo ok\nif true; then\n", 2),
        (LintLanguage::Rust, "fn a() {}\nfn b( {}\n", 2),
        (LintLanguage::Go, "package a\nfunc f( {}\n", 2),
        (LintLanguage::C, "int a;\nint f( {}\n", 2),
    ];
    for (language, source, line) in table {
        let errors = outline(language, source).errors;
        assert!(!errors.is_empty(), "{}: none found", language.slug());
        assert!(errors[0].start.0 <= line + 1, "{}: {errors:?}", language.slug());
    }
}

#[test]
fn hostile_sources_end_in_time_and_without_a_deep_stack() {
    let big = 8 * 1024;
    let sources = [
        "(".repeat(big),
        "{".repeat(big),
        "a.".repeat(big / 2),
        "f(".repeat(big / 2),
        "f()".repeat(big / 3),
        "x=function(){".repeat(big / 13),
        "if a:\n ".repeat(big / 7),
        "$(".repeat(big / 2),
        "`".repeat(big),
        "import a,".repeat(big / 9),
        "use a::{".repeat(big / 8),
        "\u{0}\u{1}\u{feff}".repeat(big / 5),
        "match x { _ => ".repeat(big / 15),
    ];
    for source in &sources {
        for language in LintLanguage::ALL {
            let started = Instant::now();
            let outline = outline(language, source);
            let took = started.elapsed();
            let start: String = source.chars().take(8).collect();
            // Parsing and walking are bounded by TIME_MAX; the rest is slack for a loaded machine.
            assert!(took.as_secs() < 12, "{} took {took:?} on {start:?}…", language.slug());
            assert!(outline.functions.len() <= 5000 && outline.imports.len() <= 5000);
        }
    }
}

fn lint(cell: FakeCell) -> (Typed<LintCode>, Arc<FakeCell>) {
    let cell = Arc::new(cell);
    (Typed::new(LintCode::new(cell.clone(), Arc::new(FakeMemo::default()))), cell)
}

const RUFF: &str = r#"[{"code":"F401","message":"`os` imported but unused","severity":"error",
  "url":null,"location":{"row":1,"column":8},"end_location":{"row":1,"column":10},"fix":null}]"#;

#[actix_rt::test]
async fn findings_of_the_linter_come_with_outline_version_and_hash() {
    let (tool, cell) = lint(FakeCell::new(|spec| match spec.argv.last().map(String::as_str) {
        Some("--version") => Ok(report(0, "ruff 0.17.6\n")),
        _ => Ok(report(1, RUFF)),
    }));
    let source = "import os\nasync def f(): pass\n";
    for source in [source, source, "import os\nasync def f(): pass\n#"] {
        let said = result(&tool, json!({ "code": source })).await;
        assert_eq!(said["diagnostics"][0]["rule"], "F401");
        assert_eq!(said["functions"][0]["is_async"], true);
        assert_eq!(said["linter"], json!({"name": "ruff", "available": true, "version": "0.17.6"}));
        assert_eq!(said["linter_exit_code"], 1);
        assert_eq!(said["linter_output"], "1:8 F401 `os` imported but unused\n");
        assert_eq!(said["code_hash"], sha256_hex(source.as_bytes()));
        assert_eq!(said["notes"], json!([]));
    }
    let asked = cell.asked();
    assert_eq!(asked[0].stdin, source.as_bytes());
    let versions = asked.iter().filter(|spec| spec.argv.contains(&"--version".into())).count();
    assert_eq!(versions, 1, "the version is asked for once");
    assert_eq!(asked.len(), 3, "the same source is linted once");
}

#[actix_rt::test]
async fn a_missing_linter_is_said_and_syntax_errors_are_still_found() {
    let (tool, cell) = lint(FakeCell::new(|_| Ok(report(127, ""))));
    let arguments = json!({"code": "if x then\n", "language": "bash"});
    result(&tool, arguments.clone()).await;
    let said = result(&tool, arguments).await;
    assert_eq!(cell.asked().len(), 2, "a result without its linter is not remembered");
    assert_eq!(said["linter"]["available"], false);
    assert_eq!(said["diagnostics"][0]["rule"], "syntax-error");
    assert_eq!(said["diagnostics"][0]["source"], "tree-sitter");
    let note = said["notes"][0].as_str().unwrap();
    assert!(note.starts_with("shellcheck is not available here"), "{note}");
}

#[actix_rt::test]
async fn a_host_that_cannot_isolate_still_gives_the_outline_and_a_full_queue_does_not() {
    let (tool, _) = lint(FakeCell::new(|_| {
        Err(ApiError::new(Code::IsolationUnavailable, "no user namespaces"))
    }));
    let said = result(&tool, json!({"code": "def f(): pass"})).await;
    assert_eq!(said["functions"][0]["name"], "f");
    assert_eq!(said["notes"], json!(["ruff is not available here: no user namespaces"]));
    let (tool, _) = lint(FakeCell::new(|_| Err(ApiError::new(Code::Overloaded, "full"))));
    let error = call(&tool, json!({"code": "def f(): pass"})).await.unwrap_err();
    assert_eq!(error.code, Code::Overloaded);
}

#[actix_rt::test]
async fn a_linter_that_fails_or_lies_is_a_note_and_not_an_error() {
    let table: [(RunReport, &str); 3] = [
        (report(2, "panic!"), "oxlint did not print its usual JSON"),
        (RunReport { status: Status::Timeout, ..report(0, "") }, "oxlint did not finish (timeout)"),
        (RunReport { status: Status::Oom, ..report(0, "") }, "oxlint did not finish (oom)"),
    ];
    for (report, expected) in table {
        let (tool, _) = lint(FakeCell::new(move |_| Ok(report.clone())));
        let said = result(&tool, json!({"code": "let a", "language": "javascript"})).await;
        let note = said["notes"][0].as_str().unwrap();
        assert!(note.starts_with(expected), "{note}");
    }
}

#[actix_rt::test]
async fn a_language_without_a_linter_says_so_and_needs_no_cell() {
    let (tool, cell) = lint(FakeCell::new(|_| panic!("there is nothing to run")));
    let said =
        result(&tool, json!({"code": "int main(void) { return 0; }", "language": "c"})).await;
    assert_eq!(said["linter"], json!(null));
    assert_eq!(said["functions"][0]["name"], "main");
    assert!(cell.asked().is_empty());
}

#[actix_rt::test]
async fn the_audit_gets_the_hash_and_never_the_source() {
    let (tool, _) = lint(FakeCell::new(|_| Ok(report(0, "[]"))));
    let output = call(&tool, json!({"code": "SECRET = 1"})).await.unwrap();
    assert!(!serde_json::to_string(&output.audit).unwrap().contains("SECRET"));
    assert_eq!(output.audit["language"], "python");
}

#[actix_rt::test]
async fn bad_input_names_the_field_and_what_is_allowed() {
    let (tool, _) = lint(FakeCell::new(|_| panic!("bad input must not reach the cell")));
    let table = [
        (json!({}), "arguments: missing field `code`"),
        (json!({"code": ""}), "code: length must be at least 1"),
        (json!({"code": "x".repeat(SOURCE_BYTES_MAX + 1)}), "code: length must be at most 524288"),
        (json!({"code": ["x"]}), "code: invalid type: sequence, expected a string"),
        (
            json!({"code": "x", "language": "cobol"}),
            "language: unknown variant `cobol`, expected one of `python`, `javascript`, \
             `typescript`, `bash`, `rust`, `go`, `c`",
        ),
        (
            json!({"code": "x", "lang": "c"}),
            "lang: unknown field `lang`, expected `code` or `language`",
        ),
    ];
    for (arguments, expected) in table {
        assert_eq!(refusal(&tool, arguments).await, expected);
    }
}

//! This crate as an extension module of CPython: two functions without arguments, and what fork needs.
//!
//! The module is written by hand against the stable ABI (PEP 384), which is three structures here. Every
//! function of the interpreter is looked up when it is needed (dlsym(3)), so that the same source links
//! into the server, where there is no interpreter.

use std::ffi::{CStr, c_char, c_int, c_long, c_void};
use std::ptr;

use crate::sys;

type Object = *mut c_void;
type Function = extern "C" fn(Object, Object) -> Object;

/// PEP 384, `Include/methodobject.h`.
#[repr(C)]
struct MethodDef {
    name: *const c_char,
    function: Option<Function>,
    flags: c_int,
    doc: *const c_char,
}

/// `Include/moduleobject.h`: PyModuleDef_Base and what follows it.
#[repr(C)]
struct ModuleDef {
    references: isize,
    kind: Object,
    init: Object,
    index: isize,
    copy: Object,
    name: *const c_char,
    doc: *const c_char,
    size: isize,
    methods: *mut MethodDef,
    slots: Object,
    traverse: Object,
    clear: Object,
    free: Object,
}

/// A function without arguments.
const METH_NOARGS: c_int = 4;
/// The version of the module structure, PYTHON_ABI_VERSION of the stable ABI.
const ABI_VERSION: c_int = 3;

/// What the interpreter calls after it has loaded the library (`_imp.create_dynamic`).
///
/// Does nothing but make the module; answers null with the interpreter's own error otherwise.
// SAFETY: no other symbol of this name exists in the program; it is what CPython looks for.
#[unsafe(no_mangle)]
pub extern "C" fn PyInit__cell() -> *mut c_void {
    let method = |name: &'static CStr, function| MethodDef {
        name: name.as_ptr(),
        function: Some(function),
        flags: METH_NOARGS,
        doc: ptr::null(),
    };
    let end = MethodDef { name: ptr::null(), function: None, flags: 0, doc: ptr::null() };
    // Both live as long as the process: the interpreter keeps pointers to them.
    let methods = Box::leak(Box::new([method(c"serve", serve), method(c"wait", wait), end]));
    let definition = Box::leak(Box::new(ModuleDef {
        references: 1,
        kind: ptr::null_mut(),
        init: ptr::null_mut(),
        index: 0,
        copy: ptr::null_mut(),
        name: c"_cell".as_ptr(),
        doc: ptr::null(),
        size: -1,
        methods: methods.as_mut_ptr(),
        slots: ptr::null_mut(),
        traverse: ptr::null_mut(),
        clear: ptr::null_mut(),
        free: ptr::null_mut(),
    }));
    let make = symbol(c"PyModule_Create2");
    // SAFETY: the signature is that of PyModule_Create2; the definition is complete and never freed; the
    // interpreter calls us with its lock held.
    unsafe {
        let make: extern "C" fn(*mut ModuleDef, c_int) -> Object = std::mem::transmute(make);
        make(definition, ABI_VERSION)
    }
}

extern "C" fn serve(_: Object, _: Object) -> Object {
    super::serve();
    number(0)
}

extern "C" fn wait(_: Object, _: Object) -> Object {
    super::wait();
    number(0)
}

/// Takes the interpreter's locks for all forks to come; each child gives its copies back.
pub(super) fn before_forks() {
    call(c"PyOS_BeforeFork");
}

/// Makes the interpreter good for a child: locks, thread ids, at-fork functions (`random` reseeds).
pub(super) fn after_fork() {
    call(c"PyOS_AfterFork_Child");
}

fn call(name: &CStr) {
    let function = symbol(name);
    // SAFETY: both callers name functions without arguments and result, and hold the interpreter's lock.
    unsafe {
        let function: extern "C" fn() = std::mem::transmute(function);
        function();
    }
}

fn number(value: c_long) -> Object {
    let make = symbol(c"PyLong_FromLong");
    // SAFETY: the signature is that of PyLong_FromLong; the interpreter's lock is held.
    unsafe {
        let make: extern "C" fn(c_long) -> Object = std::mem::transmute(make);
        make(value)
    }
}

/// A function of the interpreter that has loaded us. Without it this process is no interpreter.
fn symbol(name: &CStr) -> *mut c_void {
    // SAFETY: the name is NUL-terminated; the lookup has no other demand.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    if found.is_null() {
        sys::exit_now(70);
    }
    found
}

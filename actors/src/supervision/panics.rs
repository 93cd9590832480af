//! Panics: logged once, with the child they happened in.
//!
//! Owns: the process's panic hook (once installed) and the place of the last panic of each thread.
//! Called by: `main`, once, after tracing is set up; the cells.

use std::any::Any;
use std::cell::RefCell;
use std::panic::PanicHookInfo;
use std::sync::Arc;

thread_local! {
    /// The child whose code runs on this thread now.
    static CURRENT: RefCell<Option<Arc<str>>> = const { RefCell::new(None) };
    /// File and line of this thread's last panic; filled by the hook.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Replaces the process's panic hook by one that writes a single `error` line through tracing: text,
/// place, thread and, inside a supervised child, its name. The cells add no second line.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(log_panic));
}

fn log_panic(info: &PanicHookInfo<'_>) {
    let place = info.location().map(|place| format!("{}:{}", place.file(), place.line()));
    let text = text_of(info.payload());
    let thread = std::thread::current();
    let child = CURRENT.with(|current| current.try_borrow().ok().and_then(|name| name.clone()));
    tracing::error!(
        child = child.as_deref().unwrap_or("none"),
        place = place.as_deref().unwrap_or("unknown"),
        thread = thread.name().unwrap_or("unnamed"),
        "panic: {text}"
    );
    PLACE.with(|last| {
        if let Ok(mut last) = last.try_borrow_mut() {
            *last = place;
        }
    });
}

fn text_of(payload: &(dyn Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&str>() {
        return text;
    }
    payload.downcast_ref::<String>().map_or("a panic without a text", String::as_str)
}

/// Runs the code of a child: catches its panic and returns the text, with its place when the hook is
/// installed.
pub(super) fn guard<T>(child: &Arc<str>, code: impl FnOnce() -> T) -> Result<T, String> {
    let outer = CURRENT.with(|current| current.replace(Some(Arc::clone(child))));
    // The state that may be half changed is the actor's, and it is rebuilt before it runs again.
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(code));
    CURRENT.with(|current| current.replace(outer));
    outcome.map_err(|payload| {
        let text = text_of(&*payload);
        match PLACE.with(RefCell::take) {
            Some(place) => format!("{text} ({place})"),
            None => text.to_owned(),
        }
    })
}

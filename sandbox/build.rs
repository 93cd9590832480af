//! Names the sources that this build was made of, so that a zygote's shared library of another build is not
//! taken for this one's: what confines runs is in both (`src/zygote`).

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;
use std::{env, fs, io};

fn hash(folder: &Path, into: &mut DefaultHasher) -> io::Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        entry.file_name().hash(into);
        if entry.file_type()?.is_dir() {
            hash(&entry.path(), into)?;
        } else {
            fs::read(entry.path())?.hash(into);
        }
    }
    Ok(())
}

fn main() -> io::Result<()> {
    let mut hasher = DefaultHasher::new();
    env::var_os("PROFILE").hash(&mut hasher);
    env::var_os("CARGO_PKG_VERSION").hash(&mut hasher);
    hash(Path::new("src"), &mut hasher)?;
    println!("cargo::rerun-if-changed=src");
    println!("cargo::rustc-env=CELL_SOURCES={:016x}", hasher.finish());
    Ok(())
}

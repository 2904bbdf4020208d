//! Where things are: the project, its target folder, and the folder of one stack.

use std::env;
use std::fs;
use std::io::Write;
#[cfg(unix)]
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::Error;

/// The project's root, two levels above this crate.
pub fn project() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).unwrap_or(manifest).to_path_buf()
}

/// Cargo's target folder.
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| project().join("target"), |folder| project().join(folder))
}

pub(crate) fn python_program(name: &str) -> PathBuf {
    project().join("infra/local/python").join(name)
}

pub(crate) fn made(folder: &Path) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(Error::io(format_args!("creating {}", folder.display())))
}

/// Writes a file that nobody else on this machine may read.
pub(crate) fn written_in_private(path: &Path, content: &str) -> Result<(), Error> {
    let failed = |cause| Error::Io { what: format!("writing {}", path.display()), cause };
    drop(fs::remove_file(path));
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    options.mode(0o600);
    let mut file = options.open(path).map_err(failed)?;
    file.write_all(content.as_bytes()).map_err(failed)
}

pub(crate) fn written(path: &Path, content: &str) -> Result<(), Error> {
    fs::write(path, content).map_err(Error::io(format_args!("writing {}", path.display())))
}

//! How many connections the system lets a process have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;

/// Lets this process have as many open files, and so connections, as the system allows it: a shell often gives 1024,
/// and allows many more. `multiplane backplane` does so when it starts; a library must not, for code that uses `select`
/// cannot have more than 1024. Says how many that are.
///
/// # Errors
/// The system refuses.
pub fn raise_open_files_limit() -> io::Result<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    }
    Ok(maximum.unwrap_or(u64::MAX))
}

//! `multiplane keys`: who is who, and who may do what.

use crate::failure::{Failure, say};
use multiplane_bus::curve::{self, AllowList, PublicKey};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Make and show keys for CURVE, and say who may do what on a backplane
#[derive(clap::Subcommand)]
#[command(after_help = "\
Example, for one backplane and one component:
  multiplane keys new backplane.key
  multiplane keys new camera.key
  multiplane keys allow allow.toml camera.key --name camera --publish camera/ --subscribe control/
  multiplane backplane --curve-key backplane.key --allow allow.toml
  multiplane publish --curve-key camera.key --server-key \"$(multiplane keys show backplane.key)\" camera/1 42")]
pub(crate) enum Command {
    /// Make a pair of keys: the file holds both, and the public one is printed
    ///
    /// Only its owner may read the file, and nothing is overwritten. CZMQ and pyzmq read it, too
    /// (`zmq.auth.load_certificate`).
    New {
        /// The file to make
        file: PathBuf,
    },
    /// Print the public key of a file
    Show {
        /// A file of `keys new`, or one with a public key alone
        file: PathBuf,
    },
    /// Let the holder of a key in, by one entry more in a list of `backplane --allow`
    ///
    /// Without --publish it does not come in by the publisher port, without --subscribe not by the other. A backplane reads
    /// the list when it starts.
    Allow {
        /// The list, which is made if there is none
        list: PathBuf,
        /// A public key, or a file with one
        #[arg(allow_hyphen_values = true)]
        key: String,
        /// Who that is, for people
        #[arg(long)]
        name: String,
        /// How topics begin that it may publish, repeatable; '' for all
        #[arg(long, value_name = "PREFIX")]
        publish: Vec<String>,
        /// How topics begin that it may subscribe to, repeatable; '' for all
        #[arg(long, value_name = "PREFIX")]
        subscribe: Vec<String>,
    },
}

pub(crate) fn run(command: &Command) -> Result<(), Failure> {
    let public = match command {
        Command::New { file } => {
            let keys = curve::generate()?;
            curve::write_keys(file, &keys)?;
            *keys.public()
        }
        Command::Show { file } => curve::read_public_key(file)?,
        Command::Allow { list, key, name, publish, subscribe } => {
            return allow(list, &public_key(key)?, name, publish, subscribe);
        }
    };
    Ok(writeln!(io::stdout(), "{public}")?)
}

/// Reads a public key, or the file where one is.
pub(crate) fn public_key(text: &str) -> Result<PublicKey, Failure> {
    match text.parse() {
        Ok(key) => Ok(key),
        Err(_) if Path::new(text).exists() => Ok(curve::read_public_key(text)?),
        Err(error) => Err(Failure::Misuse(format!("there is no file {text:?}, and as a key: {error}"))),
    }
}

fn allow(
    list: &Path,
    key: &PublicKey,
    name: &str,
    publish: &[String],
    subscribe: &[String],
) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::Failed(format!("{}: {error}", list.display()));
    let before = match std::fs::read_to_string(list) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(failed(error)),
    };
    // JSON's texts are TOML's, too.
    let text = |value: &str| serde_json::to_string(value).map_err(|error| failed(error.into()));
    let texts = |values: &[String]| {
        let all = values.iter().map(|value| text(value)).collect::<Result<Vec<_>, _>>()?;
        Ok::<_, Failure>(format!("[{}]", all.join(", ")))
    };
    let gap = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
    let entry = format!(
        "{gap}[[key]]\nname = {}\npublic = \"{key}\"\npublish = {}\nsubscribe = {}\n",
        text(name)?,
        texts(publish)?,
        texts(subscribe)?
    );
    // What would not be understood is not written.
    AllowList::parse(&(before + &entry), list)?;
    let mut file = OpenOptions::new().append(true).create(true).mode(0o644).open(list).map_err(failed)?;
    file.write_all(entry.as_bytes()).map_err(failed)?;
    if publish.is_empty() && subscribe.is_empty() {
        say(format_args!(
            "multiplane: warning: {name:?} has no right at all: give it --publish or --subscribe"
        ));
    }
    Ok(())
}

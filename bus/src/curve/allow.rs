//! Who may come in, and to what they have a right.

use super::files::{CurveError, LONGEST, failed};
use multiplane_codec::zmtp::curve::PublicKey;
use serde::Deserialize;
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The keys that a backplane lets in, each with its rights: a TOML file with a table per key.
///
/// ```
/// use multiplane_bus::curve::AllowList;
///
/// let list = AllowList::parse(
///     r#"
///     [[key]]
///     name = "camera"
///     public = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"
///     publish = ["camera/"]        # topics that begin so
///     subscribe = ["control/camera"]
///     "#,
///     "allow.toml",
/// )?;
/// assert_eq!(list.len(), 1);
/// # Ok::<(), multiplane_bus::curve::CurveError>(())
/// ```
///
/// A right to `""` is one to all topics; without a right to publish, or to subscribe, a key does not come in by that port. A
/// subscription has to be at least as narrow as a right.
#[derive(Clone, Debug, Default)]
pub struct AllowList {
    clients: HashMap<PublicKey, Arc<Client>>,
}

/// Somebody who may come in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Client {
    /// For people.
    pub name: String,
    /// How topics begin that it may publish.
    pub publish: Vec<String>,
    /// How topics begin that it may subscribe to.
    pub subscribe: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    #[serde(default)]
    key: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    public: String,
    #[serde(default)]
    publish: Vec<String>,
    #[serde(default)]
    subscribe: Vec<String>,
}

impl AllowList {
    /// A list that lets nobody in.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the holder of a key in, with rights to topics that begin so.
    #[must_use]
    pub fn allow<S: Into<String>>(
        mut self,
        name: impl Into<String>,
        key: PublicKey,
        publish: impl IntoIterator<Item = S>,
        subscribe: impl IntoIterator<Item = S>,
    ) -> Self {
        let publish = publish.into_iter().map(Into::into).collect();
        let subscribe = subscribe.into_iter().map(Into::into).collect();
        self.clients.insert(key, Arc::new(Client { name: name.into(), publish, subscribe }));
        self
    }

    /// Reads a file, which nobody but its owner may write.
    ///
    /// # Errors
    /// [`CurveError`].
    pub fn from_path(path: impl AsRef<Path>) -> Result<Self, CurveError> {
        let path = path.as_ref();
        let mut text = String::new();
        let file = File::open(path).map_err(failed(path))?;
        let mode = file.metadata().map_err(failed(path))?.permissions().mode() & 0o777;
        if mode & 0o022 != 0 {
            let reason = format!(
                "others may write this list (mode {mode:03o}): `chmod go-w` it, and look what it says"
            );
            return Err(CurveError::Rights { path: path.to_owned(), reason });
        }
        file.take(LONGEST).read_to_string(&mut text).map_err(failed(path))?;
        Self::parse(&text, path)
    }

    /// Reads a text; `source` is where it comes from, for people.
    ///
    /// # Errors
    /// [`CurveError::Rights`], [`CurveError::Key`].
    pub fn parse(text: &str, source: impl Into<PathBuf>) -> Result<Self, CurveError> {
        let path = source.into();
        let wrong = |reason: String| CurveError::Rights { path: path.clone(), reason };
        let entries: Text =
            toml::from_str(text).map_err(|error| wrong(error.to_string().trim().to_owned()))?;
        let mut list = Self::new();
        for Entry { name, public, publish, subscribe } in entries.key {
            let key = public.parse().map_err(|error| CurveError::Key {
                path: path.clone(),
                what: format!("public of {name:?}"),
                error,
            })?;
            if let Some(before) = list.get(&key) {
                return Err(wrong(format!("{name:?} has the key that {:?} has already", before.name)));
            }
            list = list.allow(name, key, publish, subscribe);
        }
        Ok(list)
    }

    /// Who has this key, if he may come in.
    #[must_use]
    pub fn get(&self, key: &PublicKey) -> Option<&Arc<Client>> {
        self.clients.get(key)
    }

    /// How many may come in.
    #[must_use]
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether nobody may.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }
}

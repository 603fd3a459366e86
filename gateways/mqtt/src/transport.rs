//! The connection itself, in the clear or under TLS.

use crate::config::{Config, Tls};
use mio::net::TcpStream;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto::ring};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

/// A connected socket that never blocks.
pub(crate) enum Transport {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// How to make one of a connected socket.
pub(crate) enum Security {
    None,
    Tls(Arc<ClientConfig>, ServerName<'static>),
}

impl Security {
    /// Loads certificates, so that what is wrong with them is told at the start.
    pub(crate) fn new(config: &Config) -> Result<Self, String> {
        let Some(Tls { authority }) = &config.tls else { return Ok(Self::None) };
        let host = config.broker.rsplit_once(':').map_or(config.broker.as_str(), |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| format!("TLS checks the broker's name, and {host:?} is none: {error}"))?;
        let roots = match authority {
            Some(file) => roots_of_file(file)?,
            None => roots_of_system()?,
        };
        let made = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS cannot be had: {error}"))?;
        Ok(Self::Tls(Arc::new(made.with_root_certificates(roots).with_no_client_auth()), name))
    }

    pub(crate) fn wrap(&self, socket: TcpStream) -> Result<Transport, String> {
        match self {
            Self::None => Ok(Transport::Plain(socket)),
            Self::Tls(config, name) => {
                let made = ClientConnection::new(config.clone(), name.clone());
                let made = made.map_err(|error| error.to_string())?;
                Ok(Transport::Tls(Box::new(StreamOwned::new(made, socket))))
            }
        }
    }
}

fn roots_of_file(file: &Path) -> Result<RootCertStore, String> {
    let wrong = |why: &dyn ToString| {
        format!(
            "{}: {}; give a PEM file with the certificate of the authority",
            file.display(),
            why.to_string()
        )
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| wrong(&error))? {
        let certificate = certificate.map_err(|error| wrong(&error))?;
        roots.add(certificate).map_err(|error| wrong(&error))?;
    }
    if roots.is_empty() { Err(wrong(&"it has no certificate")) } else { Ok(roots) }
}

fn roots_of_system() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err("this system trusts no authority that could vouch for the broker; name one".to_owned());
    }
    Ok(roots)
}

impl Read for Transport {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Transport {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn write_vectored(&mut self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write_vectored(slices),
            Self::Tls(stream) => {
                let first = slices.iter().find(|slice| !slice.is_empty());
                first.map_or(Ok(0), |first| stream.write(first))
            }
        }
    }

    /// Sends records that were written and that the socket had no room for.
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(stream) if stream.conn.is_handshaking() || stream.conn.wants_write() => stream.flush(),
            Self::Tls(_) => Ok(()),
        }
    }
}

//! A socket, with or without TLS.

use crate::config::{ConfigError, Tls};
use mio::net::TcpStream;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::path::Path;
use std::sync::Arc;

/// What the port speaks.
#[derive(Clone)]
pub(crate) enum Security {
    None,
    Tls(Arc<ServerConfig>),
}

/// An accepted connection.
pub(crate) enum Transport {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Security {
    /// Reads the certificate and its key.
    pub(crate) fn new(tls: Option<&Tls>) -> Result<Self, ConfigError> {
        let Some(tls) = tls else { return Ok(Self::None) };
        let chain = chain(&tls.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|error| {
            wrong(&tls.key, &format!("{error}; give a PEM file with the private key of the certificate"))
        })?;
        let made = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|made| made.with_no_client_auth().with_single_cert(chain, key));
        let mut made = made.map_err(|error| wrong(&tls.certificate, &error.to_string()))?;
        // A browser that also speaks HTTP/2 has to know that this port does not.
        made.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self::Tls(Arc::new(made)))
    }

    pub(crate) fn wrap(&self, socket: TcpStream) -> Result<Transport, rustls::Error> {
        Ok(match self {
            Self::None => Transport::Plain(socket),
            Self::Tls(config) => {
                Transport::Tls(Box::new(StreamOwned::new(ServerConnection::new(config.clone())?, socket)))
            }
        })
    }
}

fn wrong(file: &Path, reason: &str) -> ConfigError {
    ConfigError::Tls { file: file.display().to_string(), reason: reason.to_owned() }
}

fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let cure = |why: &dyn ToString| {
        wrong(file, &format!("{}; give a PEM file with the certificate", why.to_string()))
    };
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(file).map_err(|error| cure(&error))?.collect();
    match chain.map_err(|error| cure(&error))? {
        chain if chain.is_empty() => Err(cure(&"it has no certificate")),
        chain => Ok(chain),
    }
}

impl Transport {
    /// Whether something is held back here that the socket had no room for.
    pub(crate) fn is_pending(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => stream.conn.wants_write(),
        }
    }

    /// Nothing more will be written.
    pub(crate) fn finish(&mut self) {
        // If it does not work the peer is gone, and reading tells.
        let _ = match self {
            Self::Plain(socket) => socket.shutdown(Shutdown::Write),
            Self::Tls(stream) => {
                stream.conn.send_close_notify();
                stream.flush().and_then(|()| stream.sock.shutdown(Shutdown::Write))
            }
        };
    }
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
            Self::Tls(stream) if self_has_records(&stream.conn) => stream.flush(),
            _ => Ok(()),
        }
    }
}

fn self_has_records(connection: &ServerConnection) -> bool {
    connection.is_handshaking() || connection.wants_write()
}

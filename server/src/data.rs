//! The data directory: who owns it, and what `quail chat` finds in it.

use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{apps::Secret, carrier::quic::Secrets, entropy::Entropy, tls::write_owner_only};

/// A directory that belongs to one running server.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    _lock: File,
}

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// It cannot be made, read or written.
    #[error("data directory {path} cannot be used: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another server has it.
    #[error("data directory {path} is in use by another server")]
    InUse {
        /// Which.
        path: PathBuf,
    },
}

/// What a development server writes down for clients on the same machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Development {
    /// UDP address of the server, as a client on this machine reaches it.
    pub quic: String,
    /// URL of its WebSocket.
    pub websocket: String,
    /// SHA-256 of its certificate, in hex.
    pub fingerprint: String,
}

const DEVELOPMENT_FILE: &str = "development.toml";
const ENDPOINT_FILE: &str = "endpoint.secrets";
const SECRET_FILE: &str = "demo.secret";

impl DataDirectory {
    /// Makes the directory if need be and takes it.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let failed = |source| DataError::Io { path: path.to_owned(), source };
        // What people write to each other is in it.
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join("lock"))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(DataError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The secret of the development app, made at the first call.
    pub fn development_secret(&self, entropy: &Entropy) -> Result<Secret, DataError> {
        if let Ok(secret) = development_secret(&self.path) {
            return Ok(secret);
        }
        let secret = hex(&entropy.bytes::<32>());
        self.write(SECRET_FILE, &secret)?;
        Ok(Secret::new(secret))
    }

    /// The QUIC endpoint's secrets, made at the first call.
    pub fn endpoint_secrets(&self, entropy: &Entropy) -> Result<Secrets, DataError> {
        let path = self.path.join(ENDPOINT_FILE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let bytes = entropy.bytes::<64>().to_vec();
                write_owner_only(&path, &bytes).map_err(|source| self.failed(source))?;
                bytes
            }
            Err(source) => return Err(self.failed(source)),
        };
        let (&[reset, token], []) = bytes.as_chunks::<32>() else {
            let text = format!("{ENDPOINT_FILE} has not 64 bytes; remove it to have it made anew");
            return Err(self.failed(io::Error::other(text)));
        };
        Ok(Secrets { reset, token })
    }

    /// Writes down how to reach this server.
    pub fn write_development(&self, development: &Development) -> Result<(), DataError> {
        let text =
            toml::to_string(development).map_err(io::Error::other).map_err(|source| self.failed(source))?;
        self.write(DEVELOPMENT_FILE, &text)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), DataError> {
        write_owner_only(&self.path.join(name), text.as_bytes()).map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> DataError {
        DataError::Io { path: self.path.clone(), source }
    }
}

/// Reads the development app's secret from a data directory.
pub fn development_secret(path: &Path) -> io::Result<Secret> {
    let text = fs::read_to_string(path.join(SECRET_FILE))?;
    let secret = text.trim();
    if secret.len() < crate::apps::SECRET_BYTES_MIN {
        return Err(io::Error::other("the secret is too short"));
    }
    Ok(Secret::new(secret))
}

/// Reads how to reach the development server of a data directory.
pub fn read_development(path: &Path) -> io::Result<Development> {
    toml::from_str(&fs::read_to_string(path.join(DEVELOPMENT_FILE))?).map_err(io::Error::other)
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

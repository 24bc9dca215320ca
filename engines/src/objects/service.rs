//! What a store is and what opens it, in plain data; and the library's hand on it.

use std::fmt;
use std::path::PathBuf;

use opendal::services::{Azblob, Cos, Fs, Gcs, Obs, Oss, S3, Webdav};
use opendal::{Operator, Result};
use zeroize::Zeroizing;

/// A store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Service {
    /// A folder.
    Folder {
        /// Its whole name.
        root: String,
        /// Where an object grows before it gets its name; beside it where there is none.
        growing: Option<PathBuf>,
    },
    /// A server.
    Remote(Remote),
}

/// What a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    S3,
    /// The same with the bucket before the host's name.
    S3VirtualHost,
    Oss,
    Gcs,
    Azblob,
    Cos,
    Obs,
    Webdav,
}

/// Objects on a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remote {
    pub(crate) protocol: Protocol,
    pub(crate) bucket: String,
    /// What every name begins with.
    pub(crate) root: String,
    /// The server, where the protocol has no server of its own.
    pub(crate) endpoint: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) keys: Keys,
}

/// What opens a store; what the environment gives where there is nothing.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Keys {
    pub(crate) id: String,
    pub(crate) secret: Zeroizing<String>,
    pub(crate) token: Zeroizing<String>,
    /// Nothing does: whoever comes may read.
    pub(crate) is_anonymous: bool,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Service {
    /// Opens it; nothing is read yet.
    pub(super) fn operator(&self) -> Result<Operator> {
        match self {
            Self::Folder { root, growing: Some(growing) } => {
                Operator::new(Fs::default().root(root).atomic_write_dir(&growing.to_string_lossy()))
            }
            Self::Folder { root, growing: None } => Operator::new(Fs::default().root(root)),
            Self::Remote(remote) => {
                opendal::install_default();
                remote.operator()
            }
        }
    }
}

impl Remote {
    fn operator(&self) -> Result<Operator> {
        let Self { bucket, endpoint, keys: Keys { id, secret, token, .. }, .. } = self;
        let (root, endpoint) = (format!("/{}", self.root), endpoint.as_deref().unwrap_or_default());
        match self.protocol {
            Protocol::S3 | Protocol::S3VirtualHost => Operator::new(self.s3(&root)),
            Protocol::Oss => {
                let oss = Oss::default().root(&root).bucket(bucket).endpoint(endpoint);
                Operator::new(oss.access_key_id(id).access_key_secret(secret).security_token(token))
            }
            Protocol::Gcs => Operator::new(Gcs::default().root(&root).bucket(bucket)),
            Protocol::Azblob => {
                let azblob = Azblob::default().root(&root).container(bucket).endpoint(endpoint).account_name(id);
                Operator::new(if secret.is_empty() { azblob.sas_token(token) } else { azblob.account_key(secret) })
            }
            Protocol::Cos => {
                let cos = Cos::default().root(&root).bucket(bucket).endpoint(endpoint);
                Operator::new(cos.secret_id(id).secret_key(secret).security_token(token))
            }
            Protocol::Obs => {
                let obs = Obs::default().root(&root).bucket(bucket).endpoint(endpoint);
                Operator::new(obs.access_key_id(id).secret_access_key(secret))
            }
            Protocol::Webdav => {
                let webdav = Webdav::default().root(&root).endpoint(endpoint);
                Operator::new(if id.is_empty() { webdav } else { webdav.username(id).password(secret) })
            }
        }
    }

    fn s3(&self, root: &str) -> S3 {
        let Keys { id, secret, token, is_anonymous } = &self.keys;
        let region = self.region.clone().or_else(|| std::env::var("AWS_REGION").ok());
        let region = region.or_else(|| std::env::var("AWS_DEFAULT_REGION").ok()).filter(|region| !region.is_empty());
        let mut s3 = S3::default().bucket(&self.bucket).root(root).disable_ec2_metadata();
        s3 = s3.region(region.as_deref().unwrap_or("us-east-1"));
        if let Some(endpoint) = &self.endpoint {
            s3 = s3.endpoint(endpoint);
        }
        if self.protocol == Protocol::S3VirtualHost {
            s3 = s3.enable_virtual_host_style();
        }
        if *is_anonymous {
            return s3.skip_signature().disable_config_load();
        }
        if id.is_empty() {
            return s3;
        }
        let s3 = s3.access_key_id(id).secret_access_key(secret).disable_config_load();
        if token.is_empty() { s3 } else { s3.session_token(token) }
    }
}

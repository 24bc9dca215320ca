//! A folder or a bucket of S3, as a URL names it. Secrets have no place in it.

use std::fmt;
use std::path::{Path, PathBuf};

use metaferry_pipeline::{Error, Result};
use url::Url;

use super::service::{Keys, Protocol, Remote, Service};
use crate::address::redact;

/// Where in a folder an object grows before it gets its name.
const GROWING: &str = "growing";

/// Where objects are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// `file://` and a folder.
    Folder(PathBuf),
    /// `s3://bucket/prefix?endpoint=…&region=…`
    S3 {
        /// The bucket.
        bucket: String,
        /// What every name begins with.
        prefix: String,
        /// The server, where it is not Amazon's.
        endpoint: Option<String>,
        /// The region, where it is named.
        region: Option<String>,
    },
}

impl Address {
    /// Reads a URL; none where it is none of these.
    ///
    /// # Errors
    /// One of S3 that names no bucket, or has keys in it or parameters that are not known.
    pub(crate) fn parse(text: &str) -> Result<Option<Self>> {
        match text.split_once("://") {
            Some(("file", path)) if !path.is_empty() => Ok(Some(Self::Folder(PathBuf::from(path)))),
            Some(("s3", _)) => s3(text).map(Some),
            _ => Ok(None),
        }
    }

    /// What opens it. In a folder, objects grow in one of their own.
    ///
    /// # Errors
    /// A folder whose name is not UTF-8.
    pub(crate) fn service(&self) -> Result<Service> {
        match self {
            Self::Folder(path) => {
                let (path, root) = absolute(path)?;
                Ok(Service::Folder { root, growing: Some(path.join(GROWING)) })
            }
            Self::S3 { bucket, prefix, endpoint, region } => Ok(Service::Remote(Remote {
                protocol: Protocol::S3,
                bucket: bucket.clone(),
                root: prefix.clone(),
                endpoint: endpoint.clone(),
                region: region.clone(),
                keys: Keys::default(),
            })),
        }
    }

    /// The same of what something else fills: nothing but the object itself, and what it is before it is whole, is made there.
    ///
    /// # Errors
    /// As [`Address::service`].
    pub(crate) fn foreign_service(&self) -> Result<Service> {
        match self {
            Self::Folder(path) => Ok(Service::Folder { root: absolute(path)?.1, growing: None }),
            Self::S3 { .. } => self.service(),
        }
    }
}

/// The whole name of a folder.
fn absolute(path: &Path) -> Result<(PathBuf, String)> {
    let shown = path.display();
    let path = std::path::absolute(path).map_err(|cause| Error::engine(shown.to_string(), cause))?;
    let text = path.to_str().ok_or_else(|| Error::config(format!("{shown}: its name is not UTF-8")))?.to_owned();
    Ok((path, text))
}

fn s3(text: &str) -> Result<Address> {
    let wrong = |why: String| Error::config(format!("{}: {why}", redact(text)));
    let url = Url::parse(text).map_err(|error| wrong(error.to_string()))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("keys have no place in it".to_owned())
            .hint("give them in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"));
    }
    let bucket = url.host_str().ok_or_else(|| wrong("it names no bucket".to_owned()))?.to_owned();
    let (mut endpoint, mut region) = (None, None);
    for (name, value) in url.query_pairs() {
        match name.as_ref() {
            "endpoint" => endpoint = Some(value.into_owned()),
            "region" => region = Some(value.into_owned()),
            other => return Err(wrong(format!("the parameter {other} is not known"))),
        }
    }
    Ok(Address::S3 { bucket, prefix: url.path().trim_matches('/').to_owned(), endpoint, region })
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "file://{}", path.display()),
            Self::S3 { bucket, prefix, endpoint, region } => {
                write!(f, "s3://{bucket}/{prefix}")?;
                let parameters = [("endpoint", endpoint), ("region", region)];
                let given = parameters.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
                for (number, (name, value)) in given.enumerate() {
                    write!(f, "{}{name}={value}", if number == 0 { '?' } else { '&' })?;
                }
                Ok(())
            }
        }
    }
}

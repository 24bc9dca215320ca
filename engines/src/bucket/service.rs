//! From a setting to a store: how each kind of storage writes where its bucket is, and where it looks for keys
//! (`pkg/object`). Kinds that are not known are refused by name.

use metaferry_codecs::juicefs::storage::Storage;
use metaferry_pipeline::{Error, Result};

use crate::address::Query;
use crate::objects::{Keys, Protocol, Remote, Service};

/// What gives the value of an environment variable.
pub(super) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

const KNOWN: &str = "file, s3, minio, oss, gs, wasb, cos, obs and webdav are";
const AMAZON: &str = ".amazonaws.com";

/// What opens one of a volume's buckets; every name in it begins with the volume's.
pub(super) fn service(storage: &Storage, bucket: &str, env: Env<'_>) -> Result<Service> {
    if storage.kind == "file" {
        // The path of an object is the bucket with the key behind it, whether or not there is a slash between them.
        return Ok(Service::Folder { root: format!("{bucket}{}/", storage.volume), growing: None });
    }
    let location = Location::read(bucket)?;
    let keys = |names| keys(storage, names, env);
    let (protocol, place, keys) = match storage.kind.as_str() {
        "s3" => (vhost(env), location.amazon(), anonymous(keys(None)?)),
        "minio" => {
            (Protocol::S3, location.minio(env), anonymous(keys(Some(["MINIO_ACCESS_KEY", "MINIO_SECRET_KEY", ""]))?))
        }
        "oss" => {
            let names = ["ALICLOUD_ACCESS_KEY_ID", "ALICLOUD_ACCESS_KEY_SECRET", "SECURITY_TOKEN"];
            (Protocol::Oss, location.before_host("oss")?, keys(Some(names))?)
        }
        "cos" => (Protocol::Cos, location.before_host("cos")?, keys(Some(["COS_SECRETID", "COS_SECRETKEY", ""]))?),
        "obs" => {
            (Protocol::Obs, location.before_host("obs")?, keys(Some(["HWCLOUD_ACCESS_KEY", "HWCLOUD_SECRET_KEY", ""]))?)
        }
        "gs" => (Protocol::Gcs, location.google(), Keys::default()),
        "wasb" => (Protocol::Azblob, location.azure(&storage.access_key), keys(None)?),
        "webdav" => (Protocol::Webdav, location.webdav(), keys(None)?),
        other => {
            let what = format!("the storage {other} of the volume {} is not known", storage.volume);
            return Err(Error::unsupported(what).hint(format!("{KNOWN}; an archive or a repository can be anywhere")));
        }
    };
    let Place { bucket, endpoint, region, folder } = place;
    let root = if folder.is_empty() { storage.volume.clone() } else { format!("{folder}/{}", storage.volume) };
    // Amazon takes either form; elsewhere the client takes this one unless it is told otherwise.
    let is_amazon = endpoint.as_deref().is_none_or(|endpoint| endpoint.contains(AMAZON));
    let protocol = if protocol == Protocol::S3VirtualHost && is_amazon { Protocol::S3 } else { protocol };
    Ok(Service::Remote(Remote { protocol, bucket, root, endpoint, region, keys }))
}

fn vhost(env: Env<'_>) -> Protocol {
    if env("JFS_S3_VHOST_STYLE").is_some_and(|set| !set.is_empty()) { Protocol::S3VirtualHost } else { Protocol::S3 }
}

/// The keys of the setting; where it has none, those that the environment has under these names.
fn keys(storage: &Storage, names: Option<[&str; 3]>, env: Env<'_>) -> Result<Keys> {
    let taken_out = |error| {
        Error::from(error)
            .hint("put it back with juicefs config, or give it with --secret-key-file where that is an option")
    };
    if let (true, Some([id, secret, token])) = (storage.access_key.is_empty(), names) {
        let given = |name: &str| if name.is_empty() { String::new() } else { env(name).unwrap_or_default() };
        return Ok(Keys {
            id: given(id),
            secret: given(secret).into(),
            token: given(token).into(),
            is_anonymous: false,
        });
    }
    Ok(Keys {
        id: storage.access_key.clone(),
        secret: storage.secret_key.text("SecretKey").map_err(taken_out)?,
        token: storage.session_token.text("SessionToken").map_err(taken_out)?,
        is_anonymous: false,
    })
}

/// What Amazon's client is told by a name.
fn anonymous(keys: Keys) -> Keys {
    Keys { is_anonymous: keys.id == "anonymous", ..keys }
}

/// A bucket as a setting writes it, taken apart.
struct Location {
    scheme: Option<String>,
    host: String,
    path: String,
    query: Query,
}

/// What that means.
struct Place {
    bucket: String,
    endpoint: Option<String>,
    region: Option<String>,
    /// What comes before the volume's name.
    folder: String,
}

impl Location {
    fn read(text: &str) -> Result<Self> {
        let (text, query) = text.split_once('?').unwrap_or((text, ""));
        let query = Query::parse(query);
        for name in ["ca-certs", "ssl-cert", "ssl-key", "tls-insecure-skip-verify"] {
            if query.get(name).is_some_and(|value| !matches!(value, "false" | "0" | "f" | "F" | "FALSE" | "False")) {
                let what = format!("the bucket of the volume is reached with {name}, which is not supported");
                return Err(Error::unsupported(what).hint("certificates that the system trusts are trusted"));
            }
        }
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme.to_lowercase()), rest),
            None => (None, text),
        };
        let (host, path) = rest.trim_matches('/').split_once('/').unwrap_or((rest.trim_matches('/'), ""));
        let (host, path) = (host.to_owned(), path.trim_matches('/').to_owned());
        if host.is_empty() {
            return Err(Error::corrupt("the bucket of the volume has no name"));
        }
        Ok(Self { scheme, host, path, query })
    }

    /// An address of a server; `else_scheme` where the bucket has none.
    fn server(&self, host: &str, else_scheme: &str) -> String {
        format!("{}://{host}", self.scheme.as_deref().unwrap_or(else_scheme))
    }

    /// `BUCKET.ENDPOINT`, `ENDPOINT/BUCKET` or `BUCKET`.
    fn amazon(&self) -> Place {
        let (bucket, host) = match self.path.split('/').next().filter(|bucket| !bucket.is_empty()) {
            Some(bucket) => (bucket, Some(self.host.as_str())),
            None => match self.host.split_once('.') {
                Some((bucket, host)) => (bucket, Some(host)),
                None => (self.host.as_str(), None),
            },
        };
        let is_amazon = self.host.contains(AMAZON) || !self.host.contains('.');
        let endpoint = host.map(|host| self.server(host, if is_amazon { "https" } else { "http" }));
        let region = host.and_then(region_of);
        Place { bucket: bucket.to_owned(), endpoint, region, folder: String::new() }
    }

    /// `HOST:PORT/BUCKET`
    fn minio(&self, env: Env<'_>) -> Place {
        let path = self.path.strip_prefix("minio/").unwrap_or(&self.path);
        let region = self.query.get("region").map(str::to_owned).or_else(|| env("MINIO_REGION"));
        Place {
            bucket: path.split('/').next().unwrap_or_default().to_owned(),
            endpoint: Some(self.server(&self.host, "http")),
            region: region.or_else(|| Some("us-east-1".to_owned())),
            folder: String::new(),
        }
    }

    /// `BUCKET.ENDPOINT`
    fn before_host(&self, kind: &str) -> Result<Place> {
        let none = || {
            let what = format!("the bucket {} of storage {kind} does not say which server it is on", self.host);
            Error::unsupported(what).hint("write it as BUCKET.ENDPOINT with juicefs config --bucket")
        };
        let (bucket, host) = self.host.split_once('.').ok_or_else(none)?;
        let endpoint = Some(self.server(host, "https"));
        Ok(Place { bucket: bucket.to_owned(), endpoint, region: None, folder: String::new() })
    }

    /// `BUCKET.REGION`
    fn google(&self) -> Place {
        let bucket = self.host.split('.').next().unwrap_or_default().to_owned();
        Place { bucket, endpoint: None, region: None, folder: String::new() }
    }

    /// `CONTAINER.ENDPOINT`
    fn azure(&self, account: &str) -> Place {
        let (container, domain) = self.host.split_once('.').unwrap_or((&self.host, "core.windows.net"));
        let blob = if domain.starts_with("blob.") { "" } else { "blob." };
        let endpoint = Some(self.server(&format!("{account}.{blob}{domain}"), "https"));
        Place { bucket: container.to_owned(), endpoint, region: None, folder: String::new() }
    }

    /// `HOST:PORT/PATH`
    fn webdav(&self) -> Place {
        let endpoint = Some(self.server(&self.host, "http"));
        Place { bucket: String::new(), endpoint, region: None, folder: self.path.clone() }
    }
}

/// The region in the name of a server of Amazon's.
fn region_of(host: &str) -> Option<String> {
    let (name, _) = host.split_once(AMAZON)?;
    let region = name.rsplit_once("s3.").or_else(|| name.rsplit_once("s3-")).map_or("", |(_, region)| region);
    Some(if region.is_empty() { "us-east-1".to_owned() } else { region.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn storage(kind: &str) -> Storage {
        Storage { volume: "vol".to_owned(), kind: kind.to_owned(), access_key: "AK".to_owned(), ..Storage::default() }
    }

    #[track_caller]
    fn remote(kind: &str, bucket: &str, env: Env<'_>) -> Remote {
        match service(&storage(kind), bucket, env).unwrap() {
            Service::Remote(remote) => remote,
            folder @ Service::Folder { .. } => panic!("{folder:?}"),
        }
    }

    #[track_caller]
    fn is_at(kind: &str, text: &str, bucket: &str, endpoint: Option<&str>, region: Option<&str>) {
        let found = remote(kind, text, &|_| None);
        assert_eq!(
            (found.bucket.as_str(), found.endpoint.as_deref(), found.region.as_deref(), found.root.as_str()),
            (bucket, endpoint, region, "vol"),
            "{kind} {text}"
        );
    }

    #[test]
    fn each_kind_writes_its_bucket_in_its_own_way() {
        is_at("s3", "b", "b", None, None);
        is_at(
            "s3",
            "https://b.s3.eu-west-1.amazonaws.com",
            "b",
            Some("https://s3.eu-west-1.amazonaws.com"),
            Some("eu-west-1"),
        );
        is_at(
            "s3",
            "https://s3-eu-west-1.amazonaws.com/b",
            "b",
            Some("https://s3-eu-west-1.amazonaws.com"),
            Some("eu-west-1"),
        );
        is_at("s3", "b.s3.amazonaws.com", "b", Some("https://s3.amazonaws.com"), Some("us-east-1"));
        is_at("s3", "http://127.0.0.1:9000/b/", "b", Some("http://127.0.0.1:9000"), None);
        is_at("s3", "b.store.example", "b", Some("http://store.example"), None);
        is_at("minio", "127.0.0.1:9000/b?region=x", "b", Some("http://127.0.0.1:9000"), Some("x"));
        is_at("minio", "https://host/minio/b", "b", Some("https://host"), Some("us-east-1"));
        is_at("oss", "b.oss-cn-x.aliyuncs.com", "b", Some("https://oss-cn-x.aliyuncs.com"), None);
        is_at("cos", "https://b-1.cos.x.myqcloud.com", "b-1", Some("https://cos.x.myqcloud.com"), None);
        is_at("obs", "https://b.obs.x.myhuaweicloud.com", "b", Some("https://obs.x.myhuaweicloud.com"), None);
        is_at("gs", "gs://b.region", "b", None, None);
        is_at("wasb", "https://c", "c", Some("https://AK.blob.core.windows.net"), None);
        is_at("wasb", "c.core.chinacloudapi.cn", "c", Some("https://AK.blob.core.chinacloudapi.cn"), None);
        assert_eq!(remote("webdav", "host:80/some/path/", &|_| None).root, "some/path/vol");
    }

    #[test]
    fn a_folder_is_the_bucket_with_the_key_behind_it() {
        for (bucket, root) in [("/a/b/", "/a/b/vol/"), ("/a/b", "/a/bvol/")] {
            let folder = Service::Folder { root: root.to_owned(), growing: None };
            assert_eq!(service(&storage("file"), bucket, &|_| None).unwrap(), folder);
        }
    }

    #[test]
    fn keys_come_from_the_setting_or_from_where_the_client_looks() {
        let env = |name: &str| Some(format!("of {name}"));
        assert_eq!(remote("oss", "b.h", &env).keys.id, "AK");
        let none = Storage { access_key: String::new(), ..storage("minio") };
        let Ok(Service::Remote(found)) = service(&none, "h/b", &env) else { panic!("no server") };
        assert_eq!(
            (found.keys.id.as_str(), found.keys.secret.as_str()),
            ("of MINIO_ACCESS_KEY", "of MINIO_SECRET_KEY")
        );
        let anonymous = Storage { access_key: "anonymous".to_owned(), ..storage("s3") };
        let Ok(Service::Remote(found)) = service(&anonymous, "b", &|_| None) else { panic!("no server") };
        assert!(found.keys.is_anonymous);
    }

    #[test]
    fn what_cannot_be_reached_is_refused_by_name() {
        for kind in ["sftp", "hdfs", "ceph", "tikv", "bos", "swift"] {
            assert!(service(&storage(kind), "x/y", &|_| None).unwrap_err().to_string().contains(kind));
        }
        let refused = |bucket: &str| service(&storage("s3"), bucket, &|_| None).unwrap_err().to_string();
        assert!(refused("https://h.x/b?tls-insecure-skip-verify=true").contains("tls-insecure-skip-verify"));
        assert!(refused("https://h.x/b?ca-certs=/a").contains("ca-certs"));
        assert!(service(&storage("s3"), "https://h.x/b?tls-insecure-skip-verify=false", &|_| None).is_ok());
        assert!(service(&storage("oss"), "b", &|_| None).is_err());
        let secret = metaferry_codecs::juicefs::storage::Secret::Removed;
        let removed = Storage { secret_key: secret, ..storage("s3") };
        assert!(service(&removed, "b", &|_| None).unwrap_err().to_string().contains("SecretKey was taken out"));
    }
}

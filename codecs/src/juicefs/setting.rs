//! The setting document (`pkg/meta/config.go: Format`): read, compared, freed of its secrets, written as Go writes it.
//! Unknown fields and the order of fields survive everything here.

use serde_json::{Map, Value};

use super::dump::go_string;
use super::secret;
use crate::{Error, Result};

const WHAT: &str = "setting";
/// What JuiceFS writes in a dump where a secret was.
pub const REMOVED: &str = "removed";
const SECRETS: [&str; 3] = ["SecretKey", "SessionToken", "EncryptKey"];
/// Those that open the object storage (`redis.go: DumpMeta`).
const STORE_SECRETS: [&str; 2] = ["SecretKey", "SessionToken"];
/// What the PEM form of a private key has where a passphrase protects it.
const PROTECTED: &str = "ENCRYPTED";
/// The newest metadata format that is understood (`interface.go: MaxVersion`).
const META_VERSION: u64 = 1;

/// What other parts want to know of a setting.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// The volume's name.
    pub name: String,
    /// The volume's UUID.
    pub uuid: String,
    /// The kind of object storage.
    pub storage: String,
    /// Where the objects are.
    pub bucket: String,
    /// Whether directory statistics are kept.
    pub dir_stats: bool,
    /// Days a removed file stays in the trash.
    pub trash_days: i64,
    /// The oldest client that may mount, if any is named.
    pub min_client_version: String,
    /// The secrets that a dump took out.
    pub removed: Vec<&'static str>,
}

/// Reads a setting.
///
/// # Errors
/// What is no JSON object, or has no name or UUID, or is of a metadata version that is not understood.
pub fn read(document: &[u8]) -> Result<Summary> {
    let fields = parse(document)?;
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let version = fields.get("MetaVersion").and_then(Value::as_u64).unwrap_or(0);
    if version > META_VERSION {
        let found = format!("metadata version {version}, while {META_VERSION} is the newest understood");
        return Err(Error::Unsupported { what: WHAT, found });
    }
    let summary = Summary {
        name: text("Name"),
        uuid: text("UUID"),
        storage: text("Storage"),
        bucket: text("Bucket"),
        dir_stats: fields.get("DirStats").and_then(Value::as_bool).unwrap_or(false),
        trash_days: fields.get("TrashDays").and_then(Value::as_i64).unwrap_or(0),
        min_client_version: text("MinClientVersion"),
        removed: SECRETS.into_iter().filter(|name| text(name) == REMOVED).collect(),
    };
    if summary.name.is_empty() || summary.uuid.is_empty() {
        return Err(Error::malformed(WHAT, "it has no Name or no UUID"));
    }
    Ok(summary)
}

pub(super) fn parse(document: &[u8]) -> Result<Map<String, Value>> {
    match serde_json::from_slice(document) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(Error::malformed(WHAT, "it is no JSON object")),
        Err(error) => Err(Error::malformed(WHAT, error.to_string())),
    }
}

/// Replaces the secrets by `removed` and says which. A key for data encryption that a passphrase protects is kept: without
/// it nobody could ever read the volume again.
///
/// # Errors
/// What is no JSON object.
pub fn strip_secrets(document: &mut Vec<u8>) -> Result<Vec<&'static str>> {
    let mut fields = parse(document)?;
    let mut stripped = Vec::new();
    let is_protected = has_protected_key(&fields);
    for (found, value) in fields.iter_mut() {
        // Go takes a field whatever its case.
        let Some(name) = SECRETS.into_iter().find(|name| name.eq_ignore_ascii_case(found)) else { continue };
        let Value::String(secret) = value else { continue };
        let protected = name == "EncryptKey" && is_protected;
        if !secret.is_empty() && secret != REMOVED && !protected {
            REMOVED.clone_into(secret);
            stripped.push(name);
        }
    }
    if !stripped.is_empty() || has_twice(document) {
        *document = go_text(&fields);
    }
    Ok(stripped)
}

/// Replaces what opens the object storage by `removed`, as a dump of JuiceFS does, and says how many secrets that were. The
/// key for data encryption stays.
///
/// # Errors
/// What is no JSON object.
pub fn strip_store_secrets(document: &mut Vec<u8>) -> Result<u64> {
    let mut fields = parse(document)?;
    let mut stripped = 0;
    for (found, value) in fields.iter_mut() {
        let is_meant = STORE_SECRETS.into_iter().any(|name| name.eq_ignore_ascii_case(found));
        let Value::String(secret) = value else { continue };
        if is_meant && !secret.is_empty() && secret != REMOVED {
            REMOVED.clone_into(secret);
            stripped += 1;
        }
    }
    if stripped > 0 || has_twice(document) {
        *document = go_text(&fields);
    }
    Ok(stripped)
}

/// Whether a secret stands there twice: only the last was read.
fn has_twice(document: &[u8]) -> bool {
    let text = document.to_ascii_lowercase();
    let times = |name: &str| {
        let name = format!("\"{}\"", name.to_ascii_lowercase());
        text.windows(name.len()).filter(|window| *window == name.as_bytes()).count()
    };
    SECRETS.into_iter().any(|name| times(name) > 1)
}

/// Whether a passphrase protects the key for data encryption, however the setting stores it.
fn has_protected_key(fields: &Map<String, Value>) -> bool {
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    let stored = text("EncryptKey");
    if fields.get("KeyEncrypted").and_then(Value::as_bool) != Some(true) {
        return stored.contains(PROTECTED);
    }
    let opened = secret::open(stored, text("UUID"), text("EncryptAlgo"));
    opened.is_ok_and(|key| key.windows(PROTECTED.len()).any(|window| window == PROTECTED.as_bytes()))
}

/// Puts a secret into a setting in the form the volume uses: encrypted where its other secrets are.
///
/// # Errors
/// What is no setting, a secret that is no UTF-8, and an algorithm that is not supported.
pub fn put_secret(document: &mut Vec<u8>, name: &str, secret: &[u8]) -> Result<()> {
    let mut fields = parse(document)?;
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    let stored = if fields.get("KeyEncrypted").and_then(Value::as_bool).unwrap_or(false) {
        secret::seal(secret, text("UUID"), text("EncryptAlgo"))?
    } else {
        let plain = String::from_utf8(secret.to_vec());
        plain.map_err(|_| Error::malformed(WHAT, format!("the {name} that is to be put into it is not UTF-8")))?
    };
    fields.insert(name.to_owned(), stored.into());
    *document = go_text(&fields);
    Ok(())
}

/// The document in the form Go's encoder stores: a field a line, no indentation, `<`, `>`, `&`, U+2028 and U+2029 escaped.
fn go_text(fields: &Map<String, Value>) -> Vec<u8> {
    let mut text = Vec::new();
    go_value(&Value::Object(fields.clone()), &Lines { step: 0, depth: 0 }, &mut text);
    text
}

/// Appends a value as a JSON dump prints it at this depth: two spaces a step.
pub(super) fn write_indented(value: &Value, depth: usize, out: &mut Vec<u8>) {
    go_value(value, &Lines { step: 2, depth }, out);
}

/// How lines are indented.
struct Lines {
    step: usize,
    depth: usize,
}

impl Lines {
    fn begin(&self, out: &mut Vec<u8>) {
        out.push(b'\n');
        out.resize(out.len() + self.step * self.depth, b' ');
    }

    fn deeper(&self) -> Self {
        Self { step: self.step, depth: self.depth + 1 }
    }
}

fn go_value(value: &Value, lines: &Lines, out: &mut Vec<u8>) {
    let inner = lines.deeper();
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            out.push(b'{');
            for (index, (name, value)) in fields.iter().enumerate() {
                out.extend_from_slice(if index == 0 { b"" } else { b"," });
                inner.begin(out);
                go_string(name.as_bytes(), out);
                out.extend_from_slice(b": ");
                go_value(value, &inner, out);
            }
            lines.begin(out);
            out.push(b'}');
        }
        Value::Array(items) if !items.is_empty() => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                out.extend_from_slice(if index == 0 { b"" } else { b"," });
                inner.begin(out);
                go_value(item, &inner, out);
            }
            lines.begin(out);
            out.push(b']');
        }
        Value::String(text) => go_string(text.as_bytes(), out),
        other => out.extend_from_slice(other.to_string().as_bytes()),
    }
}

/// The fields of a setting in the order of JuiceFS 1.4, and whether one is printed where it is zero.
const FIELDS: [(&str, bool); 34] = [
    ("Name", true),
    ("UUID", true),
    ("Storage", true),
    ("StorageClass", false),
    ("Tiers", true),
    ("Bucket", true),
    ("AccessKey", false),
    ("SecretKey", false),
    ("SessionToken", false),
    ("BlockSize", true),
    ("Compression", false),
    ("Shards", false),
    ("HashPrefix", false),
    ("Capacity", false),
    ("Inodes", false),
    ("EncryptKey", false),
    ("EncryptAlgo", false),
    ("KeyEncrypted", false),
    ("UploadLimit", false),
    ("DownloadLimit", false),
    ("TrashDays", true),
    ("MetaVersion", false),
    ("MinClientVersion", false),
    ("MaxClientVersion", false),
    ("DirStats", false),
    ("UserGroupQuota", false),
    ("EnableACL", true),
    ("RangerRestUrl", false),
    ("RangerService", false),
    ("ChangeLog", false),
    ("ChangeLogMaxAge", false),
    ("ChangeLogMaxLines", false),
    ("KerbConf", false),
    ("Partitions", false),
];

/// Appends the document as JuiceFS 1.4 dumps it: every field it knows in its order, with what it takes for absent ones.
/// Fields it does not know stand last; it ignores them when it loads.
///
/// # Errors
/// What is no JSON object.
pub(super) fn write_dump(document: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let mut fields = parse(document)?;
    fill_tiers(&mut fields);
    let mut dumped = Map::new();
    for (name, always) in FIELDS {
        let value = fields.shift_remove(name).filter(|value| always || !is_default(value));
        if let Some(value) = value.or_else(|| always.then(|| zero(name))) {
            dumped.insert(name.to_owned(), value);
        }
    }
    dumped.extend(fields);
    write_indented(&Value::Object(dumped), 1, out);
    Ok(())
}

fn zero(name: &str) -> Value {
    match name {
        "BlockSize" | "TrashDays" => 0.into(),
        "EnableACL" => false.into(),
        _ => "".into(),
    }
}

/// JuiceFS takes a setting without tiers to have one, of the class of storage it names.
fn fill_tiers(fields: &mut Map<String, Value>) {
    if fields.get("Tiers").is_none_or(Value::is_null) {
        let class = fields.get("StorageClass").cloned().unwrap_or_else(|| Value::String(String::new()));
        let tier = serde_json::json!({ "0": { "ID": 0, "StorageClass": class, "Tag": "" } });
        fields.insert("Tiers".to_owned(), tier);
    }
}

/// Appends the document on one line, for an archive. What is no JSON object becomes `{"damaged":"…"}`.
pub fn write_compact(document: &[u8], out: &mut Vec<u8>) {
    let value = match parse(document) {
        Ok(fields) => Value::Object(fields),
        Err(_) => serde_json::json!({ "damaged": String::from_utf8_lossy(document) }),
    };
    out.extend_from_slice(value.to_string().as_bytes());
}

/// The form to store of a document that came on one line.
///
/// # Errors
/// What is no JSON object.
pub fn stored_form(text: &[u8]) -> Result<Vec<u8>> {
    parse(text).map(|fields| go_text(&fields))
}

/// The form that is compared: fields sorted, absent ones filled with what JuiceFS takes for them, secrets masked.
/// What is no JSON object stands for itself.
#[must_use]
pub fn canonical(document: &[u8]) -> Vec<u8> {
    let Ok(mut fields) = parse(document) else { return document.to_vec() };
    for name in SECRETS {
        if let Some(Value::String(secret)) = fields.get_mut(name)
            && !secret.is_empty()
        {
            "masked".clone_into(secret);
        }
    }
    // KeyEncrypted says how the secrets are stored, which is masked too.
    fields.remove("KeyEncrypted");
    fill_tiers(&mut fields);
    fields.retain(|_, value| !is_default(value));
    let mut value = Value::Object(fields);
    value.sort_all_objects();
    value.to_string().into_bytes()
}

fn is_default(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_u64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The setting of section 8.6 of the reference, as JuiceFS 1.4 stores it.
    const STORED: &str = "{\n\"Name\": \"myjfs\",\n\"UUID\": \"12345678-9abc-def0-1234-56789abcdef0\",\n\"Storage\": \"s3\",\n\"Tiers\": {\n\"0\": {\n\"ID\": 0,\n\"StorageClass\": \"\",\n\"Tag\": \"\"\n}\n},\n\"Bucket\": \"https://b.s3.amazonaws.com?a=1\\u0026b=2\",\n\"AccessKey\": \"AK\",\n\"SecretKey\": \"AAECAwQFBgcICQoLbIt6UGpdW1e6rIj3LcfLLUbctBb8XGhqOQ==\",\n\"BlockSize\": 4096,\n\"Compression\": \"none\",\n\"EncryptAlgo\": \"aes256gcm-rsa\",\n\"KeyEncrypted\": true,\n\"TrashDays\": 1,\n\"MetaVersion\": 1,\n\"MinClientVersion\": \"1.1.0-A\",\n\"DirStats\": true,\n\"EnableACL\": false\n}";

    #[test]
    fn an_archive_line_gives_back_the_stored_bytes() {
        let mut line = Vec::new();
        write_compact(STORED.as_bytes(), &mut line);
        assert!(!line.contains(&b'\n'));
        assert_eq!(stored_form(&line).unwrap(), STORED.as_bytes());
    }

    #[test]
    fn secrets_are_masked_when_compared_and_taken_out_when_dumped() {
        let mut stripped = STORED.as_bytes().to_vec();
        assert_eq!(strip_secrets(&mut stripped).unwrap(), ["SecretKey"]);
        assert!(!stripped.windows(8).any(|window| window == b"AAECAwQF"));
        assert_eq!(canonical(&stripped), canonical(STORED.as_bytes()));
        assert_eq!(read(&stripped).unwrap().removed, ["SecretKey"]);
    }

    #[test]
    fn an_older_setting_without_tiers_equals_the_same_with_them() {
        let older =
            STORED.replace("\"Tiers\": {\n\"0\": {\n\"ID\": 0,\n\"StorageClass\": \"\",\n\"Tag\": \"\"\n}\n},\n", "");
        assert_ne!(older, STORED);
        assert_eq!(canonical(older.as_bytes()), canonical(STORED.as_bytes()));
        assert_ne!(canonical(older.as_bytes()), canonical(STORED.replace("myjfs", "other").as_bytes()));
    }

    #[test]
    fn a_newer_metadata_version_is_refused() {
        let newer = STORED.replace("\"MetaVersion\": 1", "\"MetaVersion\": 2");
        assert!(matches!(read(newer.as_bytes()), Err(Error::Unsupported { .. })));
        assert!(read(b"[]").is_err());
        assert!(read(b"{}").is_err());
    }
}

//! From the rows of an archive the listing that JuiceFS's own client gave of a fixture, line by line.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value, json};

/// Everything of an archive, by kind.
pub(crate) struct Volume {
    rows: HashMap<String, Vec<Value>>,
}

impl Volume {
    pub(crate) fn read(path: &str) -> Self {
        let mut rows: HashMap<String, Vec<Value>> = HashMap::new();
        for line in super::archive_rows(path) {
            let (kind, row) = line.split_once(' ').unwrap();
            rows.entry(kind.to_owned()).or_default().push(serde_json::from_str(row).unwrap());
        }
        Self { rows }
    }

    pub(crate) fn of(&self, kind: &str) -> &[Value] {
        self.rows.get(kind).map_or(&[], Vec::as_slice)
    }

    fn by_inode(&self, kind: &str) -> HashMap<u64, Vec<&Value>> {
        let mut map: HashMap<u64, Vec<&Value>> = HashMap::new();
        for row in self.of(kind) {
            map.entry(row["inode"].as_u64().unwrap()).or_default().push(row);
        }
        map
    }

    /// The lines of `tree.jsonl`, by path and inode, without what only views the slices another way.
    pub(crate) fn tree(&self) -> BTreeMap<(String, u64), Value> {
        let listing = Listing {
            nodes: self.by_inode("node"),
            chunks: self.by_inode("chunk"),
            symlinks: self.by_inode("symlink"),
            xattrs: self.by_inode("xattr"),
            parents: self.by_inode("parent"),
            stats: self.by_inode("dirStat"),
            rules: self.of("acl").iter().map(|rule| (rule["id"].as_u64().unwrap(), rule)).collect(),
        };
        let mut children: HashMap<u64, Vec<(Vec<u8>, u64)>> = HashMap::new();
        for edge in self.of("edge") {
            let child = (bytes(&edge["name"]), edge["inode"].as_u64().unwrap());
            children.entry(edge["parent"].as_u64().unwrap()).or_default().push(child);
        }
        let trash = 0x7FFF_FFFF_1000_0000_u64;
        let mut lines = BTreeMap::new();
        let mut todo = vec![(b"/".to_vec(), 1_u64), (b"/.trash".to_vec(), trash)];
        while let Some((path, inode)) = todo.pop() {
            if !listing.nodes.contains_key(&inode) {
                continue;
            }
            lines.insert((hex(&path), inode), listing.line(inode, Some(&path)));
            for (name, child) in children.get(&inode).into_iter().flatten() {
                let base: &[u8] = if path == b"/" { b"" } else { &path };
                todo.push(([base, b"/", name].concat(), *child));
            }
        }
        for kind in ["sustained", "detached"] {
            for row in self.of(kind) {
                let inode = row["inode"].as_u64().unwrap();
                lines.insert((String::new(), inode), listing.line(inode, None));
            }
        }
        lines
    }
}

/// The fixture's own listing, in the same form.
pub(crate) fn expected(text: &[u8]) -> BTreeMap<(String, u64), Value> {
    let line = |line: &str| {
        let mut value: Value = serde_json::from_str(line).unwrap();
        let fields = value.as_object_mut().unwrap();
        fields.remove("note");
        if let Some(chunks) = fields.get_mut("chunks").and_then(Value::as_array_mut) {
            chunks.iter_mut().for_each(|chunk| drop(chunk.as_object_mut().unwrap().remove("view")));
        }
        let path = fields["path_hex"].as_str().unwrap_or_default().to_owned();
        ((path, fields["ino"].as_u64().unwrap()), value)
    };
    std::str::from_utf8(text).unwrap().lines().map(line).collect()
}

struct Listing<'a> {
    nodes: HashMap<u64, Vec<&'a Value>>,
    chunks: HashMap<u64, Vec<&'a Value>>,
    symlinks: HashMap<u64, Vec<&'a Value>>,
    xattrs: HashMap<u64, Vec<&'a Value>>,
    parents: HashMap<u64, Vec<&'a Value>>,
    stats: HashMap<u64, Vec<&'a Value>>,
    rules: HashMap<u64, &'a Value>,
}

impl Listing<'_> {
    fn line(&self, inode: u64, path: Option<&[u8]>) -> Value {
        let node = self.nodes[&inode][0];
        let number = |name: &str| node.get(name).cloned().unwrap_or(json!(0));
        let types = ["", "regular", "directory", "symlink", "fifo", "blockdev", "chardev", "socket"];
        let kind = types.iter().position(|name| node["type"] == *name).unwrap();
        let mut line = json!({
            "path_hex": path.map(hex), "ino": inode, "type": kind, "mode": number("mode"), "uid": number("uid"),
            "gid": number("gid"), "nlink": number("nlink"), "length": number("length"), "rdev": number("rdev"),
            "parent": number("parent"), "flags": number("flags"), "tier": number("tier"),
            "atime": [number("atime"), number("atimensec")], "mtime": [number("mtime"), number("mtimensec")],
            "ctime": [number("ctime"), number("ctimensec")],
            "access_acl": number("accessACL"), "default_acl": number("defaultACL"),
        });
        self.extend(inode, line.as_object_mut().unwrap());
        line
    }

    fn extend(&self, inode: u64, line: &mut Map<String, Value>) {
        if let Some(link) = self.symlinks.get(&inode) {
            line.insert("target_hex".to_owned(), json!(hex(&bytes(&link[0]["target"]))));
        }
        if let Some(rows) = self.xattrs.get(&inode) {
            let mut pairs: Vec<_> = rows.iter().map(|row| (hex(&bytes(&row["name"])), value_of(row))).collect();
            pairs.sort_by(|left, right| left.0.cmp(&right.0));
            line.insert("xattrs".to_owned(), json!(pairs));
        }
        if line["parent"] == 0 {
            let rows = self.parents.get(&inode).into_iter().flatten();
            let parents: Map<_, _> = rows.map(|row| (row["parent"].to_string(), row["count"].clone())).collect();
            if !parents.is_empty() {
                line.insert("parents".to_owned(), parents.into());
            }
        }
        if let Some(rows) = self.stats.get(&inode) {
            let number = |name: &str| rows[0].get(name).cloned().unwrap_or(json!(0));
            line.insert("dirstat".to_owned(), json!([number("dataLength"), number("usedSpace"), number("usedInodes")]));
        }
        for (id, name) in [("access_acl", "acl_access"), ("default_acl", "acl_default")] {
            if let Some(rule) = line[id].as_u64().and_then(|id| self.rules.get(&id)) {
                line.insert(name.to_owned(), rule_of(rule));
            }
        }
        let last = line["length"].as_u64().unwrap().div_ceil(64 << 20) + 2;
        let rows = self.chunks.get(&inode).into_iter().flatten();
        let mut chunks: Vec<_> = rows.filter(|row| row["index"].as_u64().unwrap_or(0) <= last).collect();
        chunks.sort_by_key(|row| row["index"].as_u64().unwrap_or(0));
        if !chunks.is_empty() && line["type"] == 1 {
            let chunks: Vec<_> =
                chunks.iter().map(|row| json!({ "index": row["index"], "records_hex": records(row) })).collect();
            line.insert("chunks".to_owned(), json!(chunks));
        }
    }
}

fn rule_of(rule: &Value) -> Value {
    let number = |name: &str| rule.get(name).cloned().unwrap_or(json!(0));
    let entries = |name: &str| -> Vec<Value> {
        let entries = rule.get(name).and_then(Value::as_array).into_iter().flatten();
        entries.map(|entry| json!([entry["id"], entry["perm"]])).collect()
    };
    json!({ "owner": number("owner"), "group": number("group"), "mask": number("mask"), "other": number("other"),
        "users": entries("users"), "groups": entries("groups") })
}

fn value_of(row: &Value) -> Value {
    use sha2::Digest;
    let value = row.get("value").map(bytes).unwrap_or_default();
    if value.len() <= 4096 {
        return json!(hex(&value));
    }
    json!({ "len": value.len(), "sha256": hex(&sha2::Sha256::digest(&value)) })
}

fn records(row: &Value) -> String {
    let number = |slice: &Value, name: &str| slice.get(name).and_then(Value::as_u64).unwrap_or(0);
    let slices = row["slices"].as_array().unwrap().iter();
    let record = |slice: &Value| {
        format!(
            "{:08x}{:016x}{:08x}{:08x}{:08x}",
            number(slice, "pos"),
            number(slice, "id"),
            number(slice, "size"),
            number(slice, "off"),
            number(slice, "len")
        )
    };
    slices.map(record).collect()
}

pub(crate) fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::String(text) => text.clone().into_bytes(),
        other => {
            let text = other["hex"].as_str().unwrap();
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
        }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

//! The table of runs that read or write JuiceFS's own dumps.

use std::ffi::OsString;
use std::path::Path;

use anyhow::Result;

use crate::cases::{Case, Goal, Group, Store, empty, juicefs, juicefs_dump, juicefs_load, ours};
use crate::lab::{Lab, size, url};
use crate::process::Ran;

const fn group(name: &'static str, stores: &'static [Store], cases: &'static [Case]) -> Group {
    Group { name, stores, cases }
}

/// Every group, in the order of the report.
pub(crate) static FORMATS: &[Group] = &[
    group(
        "sqlite-to-json",
        &[],
        &[
            ours(Goal::Seconds(7.0), |lab, folder| dump(lab, &url(&lab.sqlite()), "json", folder)),
            juicefs("juicefs dump", 10.0, |lab, folder| juicefs_dump(lab, &url(&lab.peer("db")), false, folder)),
        ],
    ),
    group(
        "redis-to-json",
        &[Store::Redis],
        &[
            ours(Goal::Seconds(7.5), |lab, folder| dump(lab, &lab.redis()?.url().into(), "json", folder)),
            juicefs("juicefs dump", 2.3, |lab, folder| juicefs_dump(lab, &lab.redis()?.url().into(), false, folder)),
        ],
    ),
    group(
        "json-to-sqlite",
        &[],
        &[
            ours(Goal::Seconds(11.0), |lab, folder| load(lab, "json", &url(&folder.join("new.db")))),
            juicefs("juicefs load", 4.0, |lab, folder| juicefs_load(lab, &url(&folder.join("new.db")), false, folder)),
        ],
    ),
    group(
        "json-to-redis",
        &[],
        &[
            ours(Goal::Seconds(8.0), |lab, folder| {
                let server = empty(lab, folder)?;
                load(lab, "json", &server.url().into())
            }),
            juicefs("juicefs load", 4.0, |lab, folder| {
                let server = empty(lab, folder)?;
                juicefs_load(lab, &server.url().into(), false, folder)
            }),
        ],
    ),
    group(
        "sqlite-to-binary",
        &[],
        &[
            ours(Goal::Seconds(4.0), |lab, folder| dump(lab, &url(&lab.sqlite()), "bin", folder)),
            juicefs("juicefs dump --binary", 6.0, |lab, folder| juicefs_dump(lab, &url(&lab.peer("db")), true, folder)),
        ],
    ),
    group(
        "redis-to-binary",
        &[Store::Redis],
        &[
            ours(Goal::Seconds(5.0), |lab, folder| dump(lab, &lab.redis()?.url().into(), "bin", folder)),
            juicefs("juicefs dump --binary", 1.25, |lab, folder| {
                juicefs_dump(lab, &lab.redis()?.url().into(), true, folder)
            }),
        ],
    ),
    group(
        "binary-to-sqlite",
        &[],
        &[
            ours(Goal::Seconds(9.0), |lab, folder| load(lab, "bin", &url(&folder.join("new.db")))),
            juicefs("juicefs load --binary", 15.0, |lab, folder| {
                juicefs_load(lab, &url(&folder.join("new.db")), true, folder)
            }),
        ],
    ),
    group(
        "binary-to-redis",
        &[],
        &[
            ours(Goal::Seconds(5.0), |lab, folder| {
                let server = empty(lab, folder)?;
                load(lab, "bin", &server.url().into())
            }),
            juicefs("juicefs load --binary", 1.4, |lab, folder| {
                let server = empty(lab, folder)?;
                juicefs_load(lab, &server.url().into(), true, folder)
            }),
        ],
    ),
    group(
        "archive-to-json",
        &[],
        &[ours(Goal::Seconds(5.0), |lab, folder| convert(lab, lab.archive().into(), folder.join("out.json").into()))],
    ),
    group(
        "json-to-archive",
        &[],
        &[ours(Goal::Seconds(5.0), |lab, folder| {
            convert(lab, lab.dumped("json")?.into(), folder.join("out.jsonl.zst").into())
        })],
    ),
    group(
        "binary-to-archive",
        &[],
        &[ours(Goal::Seconds(5.0), |lab, folder| {
            convert(lab, lab.dumped("bin")?.into(), folder.join("out.jsonl.zst").into())
        })],
    ),
];

fn dump(lab: &Lab, source: &OsString, extension: &str, folder: &Path) -> Result<Ran> {
    let target = folder.join("out").with_extension(extension);
    let ran = lab.copy_most(["dump".into(), source.clone(), target.clone().into()])?;
    Ok(Ran { bytes: size(&target)?, ..ran })
}

fn load(lab: &Lab, extension: &str, target: &OsString) -> Result<Ran> {
    lab.copy_most(["load".into(), lab.dumped(extension)?.into(), target.clone()])
}

fn convert(lab: &Lab, source: OsString, target: OsString) -> Result<Ran> {
    let ran = lab.copy_most(["convert".into(), source, target.clone()])?;
    Ok(Ran { bytes: size(Path::new(&target))?, ..ran })
}

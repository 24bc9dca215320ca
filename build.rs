//! Tells the tests whether there is a stock JuiceFS to hold metaferry against, Kylin's own tools, a server of S3, and linters of
//! what is in `deploy/`: without one they are reported as ignored.

fn main() {
    for (cfg, variable) in [
        ("oracle", "METAFERRY_JUICEFS"),
        ("kylin", "METAFERRY_KYLIN"),
        ("kylin_typed", "METAFERRY_KYLIN_TYPED"),
        ("s3", "METAFERRY_MOTO"),
        ("linters", "METAFERRY_LINTERS"),
    ] {
        println!("cargo::rustc-check-cfg=cfg({cfg})");
        println!("cargo::rerun-if-env-changed={variable}");
        if std::env::var_os(variable).is_some_and(|path| !path.is_empty()) {
            println!("cargo::rustc-cfg={cfg}");
        }
    }
}

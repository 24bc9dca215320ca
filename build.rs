//! Tells the tests whether there is a stock JuiceFS to hold metaferry against, Kylin's own tool, a server of S3, and linters of
//! what is in `deploy/`: without one they are reported as ignored.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(oracle)");
    println!("cargo::rerun-if-env-changed=METAFERRY_JUICEFS");
    if std::env::var_os("METAFERRY_JUICEFS").is_some_and(|path| !path.is_empty()) {
        println!("cargo::rustc-cfg=oracle");
    }
    println!("cargo::rustc-check-cfg=cfg(kylin)");
    println!("cargo::rerun-if-env-changed=METAFERRY_KYLIN");
    if std::env::var_os("METAFERRY_KYLIN").is_some_and(|path| !path.is_empty()) {
        println!("cargo::rustc-cfg=kylin");
    }
    println!("cargo::rustc-check-cfg=cfg(s3)");
    println!("cargo::rerun-if-env-changed=METAFERRY_MOTO");
    if std::env::var_os("METAFERRY_MOTO").is_some_and(|path| !path.is_empty()) {
        println!("cargo::rustc-cfg=s3");
    }
    println!("cargo::rustc-check-cfg=cfg(linters)");
    println!("cargo::rerun-if-env-changed=METAFERRY_LINTERS");
    if std::env::var_os("METAFERRY_LINTERS").is_some_and(|path| !path.is_empty()) {
        println!("cargo::rustc-cfg=linters");
    }
}

//! Writes the generated YAML of both kinds into the folder that it is given.

use std::{env, fs, io, path::PathBuf};

fn main() -> io::Result<()> {
    let folder = env::args_os()
        .nth(1)
        .map_or_else(|| PathBuf::from("crds/yaml"), PathBuf::from);
    fs::create_dir_all(&folder)?;
    for (name, yaml) in weir_crds::manifests() {
        fs::write(folder.join(name), yaml)?;
    }
    Ok(())
}

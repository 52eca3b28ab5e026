//! The files that a pipeline is made of, and their content as far as it is known.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use crate::config::{ModuleRef, Watch};
use crate::plan::Plan;
use crate::watch::{Content, content};

/// What to watch.
pub(crate) struct Files {
    pub mode: Watch,
    pub known: BTreeMap<PathBuf, Content>,
}

/// The files of a plan, with the content that runs.
pub(crate) fn of_plan(plan: &Plan) -> Files {
    let pipeline = &plan.pipeline;
    let mut known = BTreeMap::from([(pipeline.file.clone(), Some(pipeline.file_hash.clone()))]);
    for (config, planned) in pipeline.stages.iter().zip(&plan.stages) {
        if let ModuleRef::File(path) = &config.module {
            known.insert(path.clone(), Some(planned.stage.module().hash().to_string()));
        }
        if let (Some(ModuleRef::File(path)), Some(shadow)) = (&config.shadow, &planned.shadow) {
            known.insert(path.clone(), Some(shadow.module().hash().to_string()));
        }
    }
    Files { mode: pipeline.watch, known }
}

/// What to watch once the text of a pipeline file has been read, whatever will be made of it: the files of the plan that
/// runs and those that the text names, also those that are not there yet. A file that the text names and that the plan
/// does not run counts with the content that it has now.
pub(super) fn named_by(text: &str, now: &Plan) -> Files {
    let mut files = of_plan(now);
    let file = now.pipeline.file.clone();
    let hash = gristmill_host::sha256_hex(text.as_bytes());
    files.known.insert(file.clone(), Some(hash));
    let folder = file.parent().unwrap_or(Path::new(""));
    for module in modules_in(text) {
        let path = folder.join(module);
        let path = std::path::absolute(&path).unwrap_or(path);
        files.known.insert(path, None);
    }
    for (path, known) in &mut files.known {
        if *path != file {
            *known = content(path);
        }
    }
    files
}

/// What stages name as `module` or `shadow` and what may be a path. Nothing, where the text is no TOML.
fn modules_in(text: &str) -> Vec<String> {
    let (table, _) = DeTable::parse_recoverable(text);
    let table = table.get_ref();
    let stages = table.iter().find(|(key, _)| key.get_ref() == "stage");
    let Some(DeValue::Array(stages)) = stages.map(|(_, value)| value.get_ref()) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for stage in stages.iter() {
        let DeValue::Table(stage) = stage.get_ref() else { continue };
        for (key, value) in stage {
            let is_module = key.get_ref() == "module" || key.get_ref() == "shadow";
            if let DeValue::String(name) = value.get_ref()
                && is_module
                && name.contains(['/', '\\', '.'])
            {
                found.push(name.to_string());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_found_in_a_file_that_is_wrong_otherwise() {
        let text = "nam = 3\n[[stage]]\nmodule = \"a.wasm\"\nshadow = \"../b\"\n[[stage]]\nmodule = \"filter\"\n";
        assert_eq!(modules_in(text), ["a.wasm", "../b"]);
        assert!(modules_in("stage = [").is_empty());
    }
}

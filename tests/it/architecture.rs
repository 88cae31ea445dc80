//! The import directions of `ARCHITECTURE.md`: which rooms know which, and that no circle of files exists.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A module's path below its crate, such as `["train", "step"]`; empty for the crate itself.
type Module = Vec<String>;

/// One crate: what each file imports from others of the same crate.
struct House {
    /// The code of each module, without its tests.
    code: BTreeMap<Module, String>,
    /// What a module's `pub use` hands on from below it: (module, name) to where that name is.
    handed_on: BTreeMap<(Module, String), Module>,
}

impl House {
    fn of(name: &str) -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).join("src");
        let mut code = BTreeMap::new();
        for file in sources(&source) {
            let below = file.strip_prefix(&source).unwrap().with_extension("");
            let mut module: Module = below.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
            if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
                module.pop();
            }
            if module.last().is_none_or(|last| last != "tests") {
                code.insert(module, without_tests(&fs::read_to_string(&file).unwrap()));
            }
        }
        assert!(!code.is_empty());
        Self::read(code)
    }

    fn read(code: BTreeMap<Module, String>) -> Self {
        let mut house = Self { code, handed_on: BTreeMap::new() };
        let mut handed_on = BTreeMap::new();
        for (module, text) in &house.code {
            for path in use_statements(text).into_iter().filter(|(public, _)| *public).flat_map(|(_, tree)| paths(&tree)) {
                let (path, name) = path;
                if let Some(target) = house.absolute(module, &path)
                    && let Some(file) = house.file_of(&target)
                    && file.starts_with(module)
                    && file != *module
                {
                    handed_on.insert((module.clone(), name), target);
                }
            }
        }
        house.handed_on = handed_on;
        house
    }

    /// The path below the crate that a path in `module` means; nothing for another crate's.
    fn absolute(&self, module: &Module, path: &[String]) -> Option<Module> {
        let mut base = module.clone();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => (base, rest) = (Vec::new(), &path[1..]),
            "self" => rest = &path[1..],
            "super" => {
                while rest.first().is_some_and(|part| part == "super") {
                    base.pop();
                    rest = &rest[1..];
                }
            }
            first => {
                base.push(first.to_owned());
                if !self.code.contains_key(&base) {
                    return None;
                }
                rest = &path[1..];
            }
        }
        base.extend(rest.iter().cloned());
        Some(base)
    }

    /// The file that a path leads into: through what modules hand on, the deepest module on the way.
    fn file_of(&self, path: &[String]) -> Option<Module> {
        for end in 1..=path.len() {
            let (module, name) = (path[..end - 1].to_vec(), path[end - 1].clone());
            let is_module = self.code.contains_key(&path[..end]);
            if let Some(target) = self.handed_on.get(&(module, name)).filter(|_| !is_module) {
                return self.file_of(&[target, &path[end..]].concat());
            }
        }
        (0..=path.len()).rev().map(|end| path[..end].to_vec()).find(|module| self.code.contains_key(module))
    }

    /// The files that the code of `module` names. What a table of contents only hands on does not count as named.
    fn imports(&self, module: &Module) -> BTreeSet<Module> {
        let text = &self.code[module];
        let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).flat_map(|line| [line, "\n"]).collect();
        let words: Vec<&str> = code.split(|c: char| !(c.is_alphanumeric() || c == '_')).collect();
        let mut named = Vec::new();
        for (public, tree) in use_statements(text) {
            for (path, name) in paths(&tree) {
                let is_handed_on = public && self.handed_on.contains_key(&(module.clone(), name.clone()));
                if !is_handed_on || words.iter().filter(|word| **word == name).count() > 1 {
                    named.push(path);
                }
            }
        }
        for root in ["crate::", "super::"] {
            for (at, _) in code.match_indices(root) {
                let is_start = !code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_' || before == ':');
                let word: String = code[at..].chars().take_while(|c| c.is_alphanumeric() || *c == '_' || *c == ':').collect();
                if is_start && !word.ends_with(':') {
                    named.push(word.split("::").map(str::to_owned).collect());
                }
            }
        }
        let targets = named.iter().filter_map(|path| self.file_of(&self.absolute(module, path)?));
        targets.filter(|target| target != module).collect()
    }

    /// Files that import one another in circles.
    fn circle(&self) -> Vec<Module> {
        let mut left: BTreeMap<Module, BTreeSet<Module>> = self.code.keys().map(|module| (module.clone(), self.imports(module))).collect();
        // Whoever imports nobody that is left is in no circle; then whoever is imported by nobody that is left.
        loop {
            let before = left.len();
            let names: BTreeSet<Module> = left.keys().cloned().collect();
            left.retain(|_, imports| imports.iter().any(|import| names.contains(import)));
            let imported: BTreeSet<Module> = left.values().flatten().cloned().collect();
            left.retain(|module, _| imported.contains(module));
            if left.len() == before {
                return left.into_keys().collect();
            }
        }
    }
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
    files.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// Code up to the tests, which may import whatever they like.
fn without_tests(text: &str) -> String {
    let tests = text.match_indices("#[cfg(test)]").find(|(at, _)| text[at + 12..].trim_start().starts_with("mod tests {"));
    text[..tests.map_or(text.len(), |(at, _)| at)].to_owned()
}

/// Every `use` with whether it is public, and what follows the word.
fn use_statements(text: &str) -> Vec<(bool, String)> {
    let mut statements = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("use ") {
        let line = rest[..at].rsplit('\n').next().unwrap().trim_start();
        let (statement, after) = rest[at + 4..].split_once(';').unwrap_or((&rest[at + 4..], ""));
        if line.is_empty() || (line.starts_with("pub") && line.ends_with(' ')) {
            statements.push((!line.is_empty(), statement.to_owned()));
            rest = after;
        } else {
            rest = &rest[at + 4..];
        }
    }
    statements
}

/// The paths of a tree such as `a::{b, c::{self, D as E}}`, each with the name that it gets.
fn paths(tree: &str) -> Vec<(Vec<String>, String)> {
    let tree = tree.trim();
    if let Some((head, group)) = tree.split_once('{').filter(|_| tree.ends_with('}')) {
        let head: Vec<String> = head.split("::").map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect();
        let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
        let group = &group[..group.len() - 1];
        for (at, character) in group.char_indices() {
            match character {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    parts.push(&group[start..at]);
                    start = at + 1;
                }
                _ => {}
            }
        }
        parts.push(&group[start..]);
        let below = parts.into_iter().filter(|part| !part.trim().is_empty()).flat_map(paths);
        return below
            .map(|(path, name)| {
                let whole: Vec<String> = head.iter().cloned().chain(path.into_iter().filter(|part| part != "self")).collect();
                let name = if name == "self" { whole.last().unwrap().clone() } else { name };
                (whole, name)
            })
            .collect();
    }
    let (path, alias) = tree.split_once(" as ").map_or((tree, None), |(path, alias)| (path, Some(alias.trim())));
    let path: Vec<String> = path.split("::").map(|part| part.trim().to_owned()).filter(|part| part != "*").collect();
    let name = alias.map_or_else(|| path.last().cloned().unwrap_or_default(), str::to_owned);
    vec![(path, name)]
}

#[test]
fn no_circle_of_files_exists() {
    let mut arrows = Vec::new();
    for name in ["dada-compute", "dada", "dada-cli"] {
        let house = House::of(name);
        let circle = house.circle();
        for module in &circle {
            for import in house.imports(module).iter().filter(|import| circle.contains(import)) {
                arrows.push(format!("{name}: {} -> {}", module.join("::"), import.join("::")));
            }
        }
    }
    assert!(arrows.is_empty(), "files in a circle:\n{}", arrows.join("\n"));
}

#[test]
fn circles_are_seen_however_they_are_written() {
    let house = |files: &[(&str, &str)]| {
        let code = files
            .iter()
            .map(|(module, text)| (module.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect(), without_tests(text)));
        House::read(code.collect())
    };
    let circle = |files: &[(&str, &str)]| house(files).circle().len();
    assert_eq!(circle(&[("a", "use crate::{b, c};"), ("b", ""), ("c", "use super::a::X;")]), 2);
    assert_eq!(circle(&[("a", "use crate::b::{self, Y as Z};"), ("b", "fn f() { crate::a::g() }")]), 2);
    assert_eq!(circle(&[("r", "pub mod a;\npub use a::X;"), ("r::a", "use super::Y;"), ("r::b", "use crate::r::X;")]), 0);
    assert_eq!(circle(&[("r", "pub mod a;\nuse a::X;"), ("r::a", "use super::Y;")]), 2);
    assert_eq!(circle(&[("r", "pub use a::X;\npub struct Y(X);"), ("r::a", "use super::Y;")]), 2);
    assert_eq!(circle(&[("r", "pub use a::X;\npub use b::Y;"), ("r::a", "use super::Y;"), ("r::b", "use crate::r::X;")]), 2);
    assert_eq!(circle(&[("a", "use crate::b::X;"), ("b", "// crate::a::X\n#[cfg(test)]\nmod tests {\n    use crate::a::X;\n}")]), 0);
}

/// No file of `room` imports from a room of `forbidden`, nor mentions another crate of it.
fn assert_apart(room: &str, forbidden: &[&str]) {
    let house = House::of("dada");
    let files: Vec<&Module> = house.code.keys().filter(|module| module.first().is_some_and(|first| first == room)).collect();
    assert!(!files.is_empty(), "there is no room {room}");
    for file in files {
        for import in house.imports(file) {
            assert!(!forbidden.contains(&import.first().map_or("", String::as_str)), "{} imports {}", file.join("::"), import.join("::"));
        }
        // Of the kernels, one is a function of plain slices.
        let code = house.code[file].replace("dada_compute::symmetric_eigen;", "");
        for name in forbidden.iter().filter(|name| name.ends_with("::")) {
            assert!(!code.contains(name), "{} mentions {name}", file.join("::"));
        }
    }
}

#[test]
fn a_loss_knows_nothing_of_the_adversarial_part() {
    assert_apart("loss", &["adversarial", "train"]);
}

#[test]
fn what_uses_a_model_knows_nothing_of_training() {
    for room in ["model", "embed", "search", "evaluate"] {
        assert_apart(room, &["loss", "adversarial", "train"]);
    }
}

#[test]
fn formats_know_nothing_of_who_reads_them() {
    assert_apart("formats", &["adversarial", "data", "embed", "embeddings", "evaluate", "loss", "model", "report", "search", "train"]);
}

#[test]
fn ranking_and_figures_know_nothing_of_the_engine() {
    assert_apart("search", &["burn::", "dada_compute::", "evaluate"]);
    assert_apart("evaluate", &["burn::", "dada_compute::"]);
}

#[test]
fn widgets_know_nothing_of_what_they_show() {
    let house = House::of("dada");
    for (module, _) in house.code.iter().filter(|(module, _)| module.starts_with(&["report".to_owned(), "widgets".to_owned()])) {
        for import in house.imports(module) {
            let is_widget = import.starts_with(&["report".to_owned(), "widgets".to_owned()]);
            assert!(is_widget || import[0] == "error", "{} imports {}", module.join("::"), import.join("::"));
        }
    }
}

#[test]
fn only_the_program_prints() {
    for name in ["dada", "dada-compute"] {
        for (module, code) in &House::of(name).code {
            for word in ["println!(", "print!(", "anyhow"] {
                assert!(!code.contains(word), "{} has {word}", module.join("::"));
            }
        }
    }
}

#!/usr/bin/env bash
# Adds a loss to a scratch copy of the repository as CONTRIBUTING.md says, one file and one line, then builds and tests it there.
#
#   tests/new_loss.sh                in the release profile
#   PROFILE=dev tests/new_loss.sh    in another one
#
# Dependencies that are built already are copied; CARGO_TARGET_DIR says where they lie if not in target/. They are never shared: the copy's crates would take the
# place of the repository's own.
set -euo pipefail
cd "$(dirname "$0")/.."
profile=${PROFILE:-release}
folder=${profile/#dev/debug}
built=$(realpath --canonicalize-missing "${CARGO_TARGET_DIR:-target}")/$folder
scratch=$(mktemp --directory)
trap 'rm -rf "$scratch"' EXIT
export CARGO_TARGET_DIR=$scratch/target
if [ -d "$built/deps" ]; then
    mkdir --parents "$CARGO_TARGET_DIR/$folder"
    cp --archive --reflink=auto "$built"/{.fingerprint,build,deps} "$CARGO_TARGET_DIR/$folder/"
fi

git ls-files -z --cached --others --exclude-standard | tar --create --null --ignore-failed-read --files-from - 2>/dev/null | tar --extract --directory "$scratch"
cd "$scratch"
git init --quiet
git add --all
git -c user.name=scratch -c user.email=scratch@example.org commit --quiet --message "Before"

cp tests/fixtures/proxy_triplet.rs crates/dada/src/loss/proxy_triplet.rs
sed -i '/^proxy_losses! {/,/^}/ s|^}|    proxy_triplet: ProxyTripletConfig => ProxyTriplet = "proxy-triplet";\n}|' crates/dada/src/loss/mod.rs

git add --all
git --no-pager diff --cached --stat
changes=$(git diff --cached --numstat --diff-filter=M)
added=$(git diff --cached --name-only --diff-filter=A)
if [ "$added" != crates/dada/src/loss/proxy_triplet.rs ] || [ "$changes" != $'1\t0\tcrates/dada/src/loss/mod.rs' ]; then
    echo "a loss is one new file and one line; found the new files $added, and the changed lines $changes" >&2
    exit 1
fi

cargo test --profile "$profile" --lib -- loss:: compare::preset:: | tee tested
cargo test --profile "$profile" --test it -- losses:: | tee -a tested
grep --quiet '^test loss::proxy_triplet::tests::agrees_with_the_formula_written_as_loops \.\.\. ok' tested
# The list of names in an error comes from the list, too.
refused=$(cargo run --profile "$profile" --quiet -- train --dry-run --set loss.name=proxy-ankle 2>&1) && exit 1
case $refused in
    *proxy-triplet*) echo "a new loss is one file and one line" ;;
    *) echo "the error does not name the new loss: $refused" >&2; exit 1 ;;
esac

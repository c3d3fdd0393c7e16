"""What is new in Kindling and in the template comes into a project; what was changed there stays."""

from pathlib import Path

from kindling.console import waiting
from kindling.errors import UsageError
from kindling.scaffold import answers, programs


def update() -> None:
    """Merge the changes since the project was made, or last updated, into the working directory's project.

    Raises:
        UsageError: There is no project, or it has uncommitted changes; Kindling is not where it was; git or copier
            fails; or both sides changed the same lines, which the message names after all else is merged.
    """
    project = answers.read("update")
    if changed := programs.changed(project.folder):
        named = ", ".join(changed[:3]) + (f" and {len(changed) - 3:,} more" if len(changed) > 3 else "")
        raise UsageError(f"update merges into what git has: commit your changes, or  git stash -u  them first: {named}")
    newest = _newest(project)
    if newest == project.commit:
        print(f"{project.folder.name} has all that is in {project.source}, {newest[:7]}")
        return
    with waiting("Merging what is new"):
        programs.copier("update", "--quiet", "--defaults", f"--vcs-ref={newest}", str(project.folder))
    now = answers.read("update")
    unmerged = programs.git(project.folder, "diff", "--name-only", "--diff-filter=U", "--relative").splitlines()
    files = programs.changed(project.folder)
    own = sorted(file for file in files if not file.startswith("vendor/") and file != answers.FILE)
    print(f"Merged {project.commit[:7]} to {now.commit[:7]} of {project.source}: {len(files):,} files")
    if own:
        print(f"Of them outside of vendor/: {', '.join(own)}")
    if unmerged:
        raise UsageError(
            f"you and Kindling changed the same lines of {', '.join(unmerged)}: edit what stands between <<<<<<< and "
            ">>>>>>>, then  make test  and commit"
        )
    print("Next: git diff, make test, git add --all, git commit -m 'Update Kindling'")


def _newest(project: answers.Answers) -> str:
    """The commit to update to, or HEAD where Kindling is behind an address.

    Raises:
        UsageError: Kindling, or the commit that the project has of it, is not where it was.
    """
    source = Path(project.source)
    if not source.is_absolute():
        return "HEAD"
    where = f"_src_path in {project.file.name}"
    if not (source / "copier.yml").is_file():
        raise UsageError(f"Kindling is not in {source} any more: write its folder or its address to {where}")
    newest = programs.head(source)
    try:
        project_has = programs.git(source, "rev-parse", "--verify", f"{project.commit}^{{commit}}")
    except UsageError as error:
        raise UsageError(
            f"{source} has no commit {project.commit}, which this project was made of: write to {where} where the "
            "clone is that has it"
        ) from error
    if programs.changed(source):
        print(f"Changes in {source} that are not committed are left out")
    return project.commit if newest == project_has else newest

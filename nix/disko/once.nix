# disko unlocks before every mount, and bcachefs-tools of 2026 refuse that while the file system is mounted, which ends disko
# (nix-community/disko#1253, and #1265 for the cure). This shell function lets such a refusal pass; a file system that is really
# locked still fails to mount. Without need once disko unlocks only once.
''
  bcachefs() {
    if [ "$1" = unlock ]; then
      command bcachefs "$@" || true
    else
      command bcachefs "$@"
    fi
  }
''

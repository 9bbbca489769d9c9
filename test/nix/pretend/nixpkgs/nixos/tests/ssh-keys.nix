# Stands in for nixpkgs' file of this name, which has a key pair that everybody knows.
_pkgs: {
  snakeOilPublicKey = "ssh-ed25519 AAAA example";
  snakeOilPrivateKey = "/nix/store/00000000000000000000000000000000-id_ed25519";
}

# The NixOS module: boot.initrd.latchkey. docs/nixos.md is the guide.
{
  imports = [
    ./module/options.nix
    ./module/configuration.nix
    ./module/drivers.nix
    ./module/initrd.nix
    ./module/stage2.nix
    ./module/remote.nix
    ./module/blank-root.nix
    ./module/assertions.nix
  ];
}

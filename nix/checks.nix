# What `nix flake check` does: builds the package, evaluates the module inside a whole NixOS and looks into the initrd that comes
# of it, and boots machines (x86-64, with KVM).
#
# None of this runs where latchkey is developed, which has no nixpkgs: there, test/nix evaluates the same files with stand-ins,
# and test/vm boots the module's units in another initrd.
{
  pkgs,
  module,
  package,
}:
let
  inherit (pkgs) lib;
  vm = file: import file { inherit pkgs module; };

  # A whole system with a bcachefs root, as small as it gets.
  system = pkgs.nixos {
    imports = [ module ];
    boot.loader.systemd-boot.enable = true;
    boot.initrd.systemd.enable = true;
    boot.initrd.latchkey.enable = true;
    fileSystems."/" = {
      device = "UUID=6c617463-6865-4b65-8000-0000000000aa";
      fsType = "bcachefs";
    };
    system.stateVersion = lib.trivial.release;
  };
in
{
  inherit package;

  # The program in the image is the program of the package, byte for byte: nothing on the way stripped it.
  initrd =
    pkgs.runCommand "latchkey-initrd"
      {
        nativeBuildInputs = [
          pkgs.zstd
          pkgs.cpio
        ];
      }
      ''
        mkdir image
        zstd --decompress --stdout ${system.config.system.build.initialRamdisk}/initrd \
          | (cd image && cpio --extract --make-directories --quiet --no-preserve-owner)
        cmp ${package}/bin/latchkey image${package}/bin/latchkey
        test -L image/bin/latchkey
        test -e image${pkgs.glibc}/lib/libpthread.so.0
        units=image$(readlink image/etc/systemd/system)
        test -e "$units/latchkey.service"
        test -e "$units/sysroot.mount.d/latchkey.conf"
        touch $out
      '';
}
// lib.optionalAttrs (pkgs.stdenv.hostPlatform.system == "x86_64-linux") {
  vm-tpm = vm ./tests/tpm.nix;
  vm-usb = vm ./tests/usb.nix;
  vm-remote = vm ./tests/remote.nix;
  vm-two-disks = vm ./tests/two-disks.nix;
  vm-blank-root = vm ./tests/blank-root.nix;
}

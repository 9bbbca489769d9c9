# What goes into the initrd: the program, what it opens at run time, and drivers for what is configured.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkDefault mkIf optionals;
  cfg = config.boot.initrd.latchkey;
  inherit (cfg.resolved) needs;
in
{
  config = mkIf cfg.enable {
    boot.initrd = {
      systemd = {
        extraBin = {
          latchkey = "${cfg.package}/bin/latchkey";
        }
        // lib.optionalAttrs needs.luks {
          # systemd-cryptsetup is there already, but proves no passphrase without opening.
          cryptsetup = "${pkgs.cryptsetup}/bin/cryptsetup";
        };

        # bun:ffi opens libc by name at run time, and Bun is linked to empty libraries that glibc kept for old programs; the
        # image builder follows what an ELF header names and finds the loader, but a missing library is only a warning to it.
        storePaths = map (name: "${pkgs.glibc}/lib/${name}") [
          "libc.so.6"
          "libm.so.6"
          "libpthread.so.0"
          "libdl.so.2"
        ];
      }
      # Older image builders strip everything, which turns the program into plain Bun; newer ones no longer have the option.
      // lib.optionalAttrs (lib.versionOlder lib.version "25.11") { strip = false; };

      availableKernelModules =
        optionals needs.tpm [
          "tpm_tis"
          "tpm_crb"
        ]
        ++ optionals needs.usb [
          "usb_storage"
          "uas"
          "xhci_pci"
          "ehci_pci"
          "sd_mod"
          "vfat"
          "nls_cp437"
          "nls_iso8859_1"
          "ext4"
        ];

      # DHCP on every wired port. Whoever configures networks turns this off and boot.initrd.systemd.network.enable on.
      network.enable = mkIf needs.network (mkDefault true);
    };
  };
}

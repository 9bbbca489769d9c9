# The helpers that NixOS passes to modules as `utils`, written from systemd-escape(1), systemd.service(5) and NixOS's manual.
{ lib }:
let
  kept = lib.stringToCharacters "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_.";
  hexadecimal = {
    " " = "20";
    "!" = "21";
    "\"" = "22";
    "#" = "23";
    "$" = "24";
    "%" = "25";
    "&" = "26";
    "'" = "27";
    "(" = "28";
    ")" = "29";
    "*" = "2a";
    "+" = "2b";
    "," = "2c";
    "-" = "2d";
    ";" = "3b";
    "<" = "3c";
    "=" = "3d";
    ">" = "3e";
    "?" = "3f";
    "@" = "40";
    "[" = "5b";
    "\\" = "5c";
    "]" = "5d";
    "^" = "5e";
    "`" = "60";
    "{" = "7b";
    "|" = "7c";
    "}" = "7d";
    "~" = "7e";
  };
  escape =
    index: character:
    if character == "/" then
      "-"
    else if index == 0 && character == "." then
      "\\x2e"
    else if lib.elem character kept then
      character
    else
      "\\x${hexadecimal.${character} or (throw "escapeSystemdPath: ${character} is not supported here")}";
  parts = path: lib.filter (part: part != "" && part != ".") (lib.splitString "/" path);
  needed = [
    "/"
    "/nix"
    "/nix/store"
    "/var"
    "/var/log"
    "/var/lib"
    "/var/lib/nixos"
    "/etc"
    "/usr"
  ];
in
{
  escapeSystemdPath =
    path:
    let
      joined = lib.concatStringsSep "/" (parts path);
    in
    if joined == "" then "-" else lib.concatStrings (lib.imap0 escape (lib.stringToCharacters joined));
  escapeSystemdExecArgs = lib.concatMapStringsSep " " (
    argument: lib.replaceStrings [ "%" "$" ] [ "%%" "$$" ] (builtins.toJSON (toString argument))
  );
  fsNeededForBoot = fs: fs.neededForBoot || lib.elem fs.mountPoint needed;
}

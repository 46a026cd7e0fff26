// Browsers load no modules for a page that was opened as a file: another page brings them along.
if (location.protocol === "file:") location.replace("offline.html");

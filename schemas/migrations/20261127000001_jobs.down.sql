-- Takes what waits to be done with it: mails that were not sent yet never will be. For development only.
DROP TABLE jobs;
